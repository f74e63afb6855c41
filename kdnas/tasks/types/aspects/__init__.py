"""What a task type holds, by what it is for; `TaskType` puts it together."""
