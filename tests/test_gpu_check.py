"""tests/gpu_check.py, on the simulator: sections are processes, and whatever becomes of one, the table and the file are there."""
import json
import subprocess
import sys

import gpu_check


def test_a_section_on_the_simulator(tmp_path):
    file = tmp_path / "found.json"
    done = subprocess.run([sys.executable, gpu_check.__file__, "--small", "--only", "device,sanitizer", "--json", str(file)],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = json.loads(file.read_text())["lines"]
    assert [line["what"] for line in lines] == ["Simulated GPU", "seconds", "compute-sanitizer", "seconds"]
    assert "Simulated GPU" in done.stdout and [path.name for path in tmp_path.iterdir()] == ["found.json"]


def test_sections_that_crash_or_hang(tmp_path, monkeypatch, capsys):
    """What they found is kept, the next section is run, and the whole has failed."""
    def process(options, part, path, seconds):
        results = gpu_check.Results(path, show=False)
        results.add(part[1], "first result", "1")
        return {"host": (-11, "Segmentation fault"), "matmul": (None, "")}.get(part[1], (0, ""))

    monkeypatch.setattr(gpu_check, "process", process)
    file = tmp_path / "found.json"
    assert gpu_check.main(["--only", "host,matmul,steps", "--json", str(file)]) == 1
    found = json.loads(file.read_text())
    assert [line["section"] for line in found["lines"] if line["what"] == "first result"] == ["host", "matmul", "steps"]
    assert found["failed"] == ["host: ended early: status -11 Segmentation fault", "matmul: ended early: its time was up "]
    assert "2 failed" in capsys.readouterr().out


def test_rows_go_on_behind_a_crash(tmp_path, monkeypatch):
    """A process that dies takes one row with it."""
    def process(options, part, path, seconds, command, **environment):
        number, parts, first = map(int, part[1].split("/"))
        results = gpu_check.Results(path, show=False)
        for k in range(first, len(range(number, 5, parts))):
            dies = (number, k) == (0, 1)
            results.take([{"section": "rows", "what": f"{number}/{k}", "value": "begun" if dies else "right", "note": "",
                           "ok": not dies}])
            if dies:
                return -6, "an illegal address"
        return 0, ""

    monkeypatch.setattr(gpu_check, "process", process)
    monkeypatch.setattr("ops_db.rows", lambda: range(5))
    options = type("Options", (), {"deadline": float("inf"), "small": False})
    lines, ends, count = gpu_check.sharded(options, 2, tmp_path)
    assert {line["what"]: line["value"] for line in lines} == {"0/0": "right", "0/1": "ended", "0/2": "right", "1/0": "right",
                                                               "1/1": "right"}
    assert count == 5 and (-6, "an illegal address") in ends and "an illegal address" in lines[1]["note"]


def test_every_section_has_a_function():
    assert all(callable(getattr(gpu_check, f"check_{section}")) for section in gpu_check.SECTIONS)
