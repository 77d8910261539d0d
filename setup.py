"""Puts the guides of the repository into the package, because `/docs` serves them and a wheel has no repository."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
INSIDE = "services/gateway/edge/reference/markdown"


class BuildWithGuides(build_py):
    """An editable installation reads them where they are."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for source in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
                target = Path(self.build_lib, INSIDE, source.relative_to(ROOT))
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)


if __name__ == "__main__":
    setup(cmdclass={"build_py": BuildWithGuides})
