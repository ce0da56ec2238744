"""colcon builds this package with setuptools."""

from setuptools import find_packages, setup

PACKAGE = "lgtc_nodes"

setup(
    name=PACKAGE,
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    package_data={"": ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    extras_require={"test": ["pytest"]},  # without it `colcon test` runs nothing and passes
    zip_safe=False,
    maintainer="LGTC Swarm maintainers",
    maintainer_email="maintainers@lgtc-swarm.example",
    license="Apache-2.0",
    entry_points={"console_scripts": ["host = lgtc_nodes.host:run", "nursery = lgtc_nodes.nursery:main"]},
)
