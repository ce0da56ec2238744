"""colcon builds this package with setuptools.

launch/, config/ and models/ beside this file are links to the folders at the root of the repository: whatever lies
in them is installed into this package's share, with and without --symlink-install, wherever the build folder is.
"""

from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "lgtc_bringup"


def installed(folder: str) -> list[tuple[str, list[str]]]:
    """List the files under ``folder`` as setuptools' data_files, the folders below it kept."""
    found: dict[str, list[str]] = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            found.setdefault(f"share/{PACKAGE}/{path.parent}", []).append(str(path))
    return list(found.items())


setup(
    name=PACKAGE,
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    package_data={"": ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        *installed("launch"),
        *installed("config"),
        *installed("models"),
    ],
    install_requires=["setuptools"],
    extras_require={"test": ["pytest"]},  # without it `colcon test` runs nothing and passes
    zip_safe=False,
    maintainer="LGTC Swarm maintainers",
    maintainer_email="maintainers@lgtc-swarm.example",
    license="Apache-2.0",
    entry_points={"console_scripts": ["lgtc = lgtc_bringup.cli:main"]},
)
