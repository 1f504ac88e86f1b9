"""The tasks that all surveys share: one for each shard or partition, known by its number, done again when an input is
another.
"""

from pathlib import Path
from typing import Any

import pytest

from pipeline.dedup.numbering import NumberedCorpus
from pipeline.dedup.phases import partition_tasks, run_phase, shard_tasks, text_tasks
from pipeline.errors import ShardsFailed
from pipeline.shard import StageDirectory, fingerprint, open_table
from pipeline.stage import Task
from tests.pipeline.dedup.corpora import write_corpus
from tests.pipeline.runner import SerialRunner


def write_texts(directory: str, path: str, shard: int, ending: str, first: int = -1) -> dict[str, Any]:
    """Task: the texts of a shard in a file."""
    texts = open_table(path)["text"].to_pylist()
    name = f"texts-{shard}{ending}"
    content = f"{first}: {' '.join(texts)}"
    Path(directory).mkdir(parents=True, exist_ok=True)
    Path(directory, name).write_text(content)
    return {"files": {name: fingerprint(content)}}


def fail(directory: str, shard: int) -> dict[str, Any]:
    """Task: never done."""
    raise ValueError(f"shard {shard} of {directory}")


@pytest.fixture
def corpus(tmp_path: Path) -> StageDirectory:
    return write_corpus(tmp_path / "corpus", [["a", "b"], [], ["four"]])


def planned(corpus: StageDirectory, *inputs: Any, numbered: bool = False) -> list[Task]:
    starts = NumberedCorpus(corpus.url).starts if numbered else None
    return text_tasks(write_texts, f"{corpus.url}-texts", corpus, {"ending": ".txt"}, inputs, ("words",), starts)


def written(corpus: StageDirectory) -> list[str]:
    return [path.read_text() for path in sorted(Path(f"{corpus.url}-texts").glob("*.txt"))]


def test_text_tasks_read_the_shards_and_weigh_as_much_as_their_texts(corpus: StageDirectory) -> None:
    tasks = planned(corpus)
    assert [(task.key, task.weight) for task in tasks] == [("shard-00000", 2), ("shard-00001", 1), ("shard-00002", 4)]
    assert {task.kernels for task in tasks} == {("words",)}
    run_phase(SerialRunner(), f"{corpus.url}-texts", "texts", tasks)
    assert written(corpus) == ["-1: a b", "-1: ", "-1: four"]


def test_text_tasks_get_the_number_of_the_first_document_when_asked(corpus: StageDirectory) -> None:
    run_phase(SerialRunner(), f"{corpus.url}-texts", "texts", planned(corpus, numbered=True))
    assert written(corpus) == ["0: a b", "2: ", "2: four"]


def test_partition_and_shard_tasks_are_told_which_they_are() -> None:
    partitions = partition_tasks(fail, "folder", 2, {"content": "c"}, ("stamp",))
    assert [(task.key, task.arguments) for task in partitions] == [
        (f"partition-0000{number}", {"directory": "folder", "partition": number, "partitions": 2, "content": "c"})
        for number in range(2)
    ]
    shards = shard_tasks(fail, "folder", 2, {"content": "c"}, ("stamp",))
    assert [(task.key, task.arguments) for task in shards] == [
        (f"shard-0000{number}", {"directory": "folder", "shard": number, "content": "c"}) for number in range(2)
    ]


def test_a_task_is_identified_by_all_inputs_and_its_number_last(corpus: StageDirectory) -> None:
    """Finished runs are known again by these: another form would do all of them anew."""
    for tasks in (
        planned(corpus, "stamp", [1]),
        partition_tasks(fail, "folder", 3, {}, ("stamp", [1])),
        shard_tasks(fail, "folder", 3, {}, ("stamp", [1])),
    ):
        assert [task.inputs for task in tasks] == [fingerprint("stamp", [1], number) for number in range(3)]


def test_a_phase_is_identified_by_its_files_and_done_once(corpus: StageDirectory) -> None:
    folder, again, other = f"{corpus.url}-texts", SerialRunner(), SerialRunner()
    first = run_phase(SerialRunner(), folder, "texts", planned(corpus, "stamp"))
    assert run_phase(again, folder, "texts", planned(corpus, "stamp")) == first
    assert again.executed == []
    assert run_phase(other, folder, "texts", planned(corpus, "other stamp")) == first, "the files are the same"
    assert len(other.executed) == 3
    assert run_phase(SerialRunner(), folder, "texts", planned(corpus, "third", numbered=True)) != first


def test_a_task_that_fails_fails_the_phase(tmp_path: Path) -> None:
    with pytest.raises(ShardsFailed, match="gathering: shard-00000: shard 0 of folder; shard-00001: shard 1 of"):
        run_phase(SerialRunner(), str(tmp_path), "gathering", shard_tasks(fail, "folder", 2, {}, ()))
