"""The errors of the project: one small family, each with its evidence attached.

Every message follows one form: where it happened, what was found ("got") and what is acceptable ("expected"). All of
them travel between processes (pickle): what a class is made of are its arguments.
"""

from __future__ import annotations


class LgtcError(Exception):
    """Base of every error that this project raises on purpose."""


class ConfigError(LgtcError):
    """A configuration file (fleet, scenario, parameters, training, model card) says something unacceptable.

    Attributes:
        file: the file, or what stands for it ("<dict>", "command line").
        key: path of the key inside it, as in ``drones.cf1.start_m[0]``; empty for the file as a whole.
        got: what stands there, in words.
        expected: what may stand there, in words.
    """

    def __init__(self, file: str, key: str, got: str, expected: str) -> None:
        self.file, self.key, self.got, self.expected = file, key, got, expected
        super().__init__(file, key, got, expected)

    def __str__(self) -> str:
        """The sentence for people."""
        where = f"{self.file}: {self.key}" if self.key else self.file
        return f"{where}: got {self.got}; expected {self.expected}"


class _MismatchError(LgtcError):
    """A thing by name, what it is and what it should be."""

    def __init__(self, what: str, got: str, expected: str) -> None:
        self.what, self.got, self.expected = what, got, expected
        super().__init__(what, got, expected)

    def __str__(self) -> str:
        """The sentence for people."""
        return f"{self.what}: got {self.got}; expected {self.expected}"


class ContractError(_MismatchError):
    """Two parts that must agree do not: a model and a fleet, a message and a model, a bag and its reader.

    Attributes:
        what: the thing compared, as in ``models/lgtc: resource kinds``.
        got: what was found.
        expected: what is needed, and what to do about it.
    """


class InputError(_MismatchError):
    """A value from outside (pose, message, service call) is unusable. Nothing was changed by it.

    Attributes:
        what: the value, as in ``/cf1/pose.position``.
        got: what came.
        expected: what may come.
    """


class LedgerError(LgtcError):
    """The demand ledger cannot be used for what was asked. Nothing was changed by it.

    Attributes:
        file: the ledger.
        problem: what is wrong, in words.
        remedy: what to do about it.
    """

    def __init__(self, file: str, problem: str, remedy: str) -> None:
        self.file, self.problem, self.remedy = file, problem, remedy
        super().__init__(file, problem, remedy)

    def __str__(self) -> str:
        """The sentence for people."""
        return f"ledger {self.file}: {self.problem}; {self.remedy}"
