import pytest

from kdnas.distillation.layer_map import LayerMap, even_layers, last_layers, skip_layers


@pytest.mark.parametrize(
    ("student", "teacher", "last", "skip"),
    [
        (4, 12, [9, 10, 11, 12], [3, 6, 9, 12]),
        (5, 12, [8, 9, 10, 11, 12], [2, 4, 6, 8, 10]),
        (10, 12, list(range(3, 13)), list(range(1, 11))),
        (3, 6, [4, 5, 6], [2, 4, 6]),
        (6, 6, [1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6]),
        (1, 24, [24], [24]),
    ],
)
def test_golden_layers(student: int, teacher: int, last: list[int], skip: list[int]) -> None:
    assert last_layers(student, teacher) == last
    assert skip_layers(student, teacher) == skip


@pytest.mark.parametrize(
    ("student", "teacher", "layers"),
    [
        (9, 24, [2, 5, 8, 10, 13, 16, 18, 21, 24]),
        (11, 15, [1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 15]),
        (3, 6, [2, 4, 6]),
    ],
)
def test_golden_evenly_spread_layers(student: int, teacher: int, layers: list[int]) -> None:
    assert even_layers(student, teacher) == layers
    assert LayerMap.of("evenly", student, teacher).teacher_layers == tuple(layers)


@pytest.mark.parametrize(("student", "teacher"), [(7, 6), (0, 6), (-1, 6)])
def test_a_student_deeper_than_its_teacher_is_refused(student: int, teacher: int) -> None:
    for mapping in (last_layers, skip_layers, even_layers):
        with pytest.raises(ValueError, match=f"{student} layers for {teacher}"):
            mapping(student, teacher)


def test_targets_are_skip_beside_last() -> None:
    layer_map = LayerMap.of("skip+last", 3, 6)
    assert layer_map.targets == ((2, 4), (4, 5), (6, 6))
    assert layer_map.teacher_layers == (2, 4, 5, 6)
    assert str(layer_map) == "1 <- 2+4, 2 <- 4+5, 3 <- 6+6"


def test_mappings_by_name_and_that_of_the_embeddings() -> None:
    assert LayerMap.of("skip", 3, 6).targets == ((2,), (4,), (6,))
    assert LayerMap.of("last", 3, 6).targets == ((4,), (5,), (6,))
    assert LayerMap.of("skip", 3, 6).student_layers == (1, 2, 3)
    embeddings = LayerMap(((0,),), first=0)
    assert embeddings.student_layers == embeddings.teacher_layers == (0,)


def test_a_given_map_is_by_depth_and_may_be_ragged() -> None:
    layer_map = LayerMap.of({2: ((1, 2), (3,)), 1: ((6,),)}, 2, 6)
    assert layer_map.targets == ((1, 2), (3,)) and layer_map.rows == [[1, 2], [3, -1]]
    assert str(layer_map.without_last) == "1 <- 1+2"
    assert LayerMap.of({2: ((1, 2), (3,)), 1: ((6,),)}, 1, 6).without_last.targets == ((6,),)


def test_a_learnt_map_reads_every_layer() -> None:
    layer_map = LayerMap.of("learned", 2, 4)
    assert layer_map.learned and layer_map.targets == ((1, 2, 3, 4),) * 2
    assert layer_map.teacher_layers == (1, 2, 3, 4)
