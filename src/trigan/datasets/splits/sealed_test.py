"""The test set, sealed until the candidates are frozen, then opened once."""

from typing import Any, NoReturn

from trigan.datasets.types import LabelledImages
from trigan.errors import SealedError

_PUBLIC = {"open", "opened_for", "__len__", "__repr__", "__class__"}
_SEALED = "the test set is sealed until the candidates are frozen; read it by SealedTest.open(digest), once"


class SealedTest:
    """Holds test images and labels behind one call.

    The tensors are in a closure that no attribute leads to, so nothing reads them by accident: attribute access,
    ``vars``, copying and pickling raise SealedError. (Python has no lock against a debugger; the seal is against
    mistakes.) Before `open`, only the size of the test set is available.
    """

    __slots__ = ("__release",)

    def __init__(self, test: LabelledImages) -> None:
        size, held, opened = len(test), [test], list[str]()

        def release(frozen: str | None) -> Any:
            """The size and the digest of the opening for None; the test set, once, for a digest."""
            if frozen is None:
                return size, (opened[0] if opened else None)
            if opened:
                raise SealedError(f"the test set was opened already (for {opened[0][:16]}); it opens once")
            opened.append(frozen)
            return held.pop()

        object.__setattr__(self, "_SealedTest__release", release)

    def __getattribute__(self, name: str) -> Any:
        if name in _PUBLIC:
            return object.__getattribute__(self, name)
        raise SealedError(f"cannot read {name!r}: {_SEALED}")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise SealedError(f"cannot set {name!r}: {_SEALED}")

    def __delattr__(self, name: str) -> NoReturn:
        raise SealedError(f"cannot delete {name!r}: {_SEALED}")

    def open(self, frozen: str) -> LabelledImages:
        """The test images and labels, once, against the digest of the frozen candidates.

        Raises:
            SealedError: the digest is empty, or the seal is broken already.
        """
        if not isinstance(frozen, str) or not frozen.strip():
            raise SealedError("the test set opens against the digest of the frozen candidates, and none was given")
        test: LabelledImages = object.__getattribute__(self, "_SealedTest__release")(frozen)
        return test

    @property
    def opened_for(self) -> str | None:
        """The digest that `open` was called with, or None."""
        digest: str | None = object.__getattribute__(self, "_SealedTest__release")(None)[1]
        return digest

    def __len__(self) -> int:
        size: int = object.__getattribute__(self, "_SealedTest__release")(None)[0]
        return size

    def __repr__(self) -> str:
        return f"SealedTest({len(self)} images, {'sealed' if self.opened_for is None else 'opened'})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise SealedError(f"the test set cannot be copied or pickled: {_SEALED}")
