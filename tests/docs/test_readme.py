"""The README's tour is what a newcomer types: these very lines are run, on a real installation."""

import re
import subprocess
from pathlib import Path

from deploy.demo import installation

TOUR = re.compile(r"^```bash tour\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_the_tour_of_the_readme(repository: Path) -> None:
    (tour,) = TOUR.findall((repository / "README.md").read_text(encoding="utf-8"))
    with installation.running(None, None, {"FANGXIAN_DEMONSTRATION_IDS": "true"}) as running:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", tour],
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "FANGXIAN": running.url},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout
    assert '"region":"350582005001"' in said
    assert '"name":"张**"' in said
    assert "003582********0019" in said
    assert "张三丰" not in said
    assert '"verdict":"pass"' in said
    assert '"receipt":"FXR.' in said
    assert "#/document_number" in said
