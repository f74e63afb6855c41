from kdnas.cli import main

main()
