"""Messages about the files of a photo folder that are not read: counted by reason, with the next step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from .files import shown
from .formats import Reason
from .heif import INSTALL
from .photos import LeftOut

_NAMED = 3
_PHRASES = {  # reason: (one file, several files, next step)
    Reason.HEIC: (
        "HEIC photo",
        "HEIC photos",
        f"To read HEIC: {INSTALL}. Or let the phone take JPEG (iPhone: Settings, Camera, Formats, Most Compatible)",
    ),
    Reason.RAW: ("camera raw file", "camera raw files", "Save camera raw files as JPEG"),
    Reason.VIDEO: (
        "video",
        "videos",
        "To teach from a video, use 'edgetl teach MODEL LABEL --camera VIDEO'",
    ),
    Reason.FORMAT: (
        "photo in a format that this OpenCV cannot read",
        "photos in a format that this OpenCV cannot read",
        "Convert them to JPEG or PNG",
    ),
    Reason.NOT_A_PHOTO: ("file that is not a photo", "files that are not photos", ""),
    Reason.EMPTY: ("file of zero bytes", "files of zero bytes", "Copy empty files again"),
    Reason.CUT_OFF: ("photo that was cut off", "photos that were cut off", "Copy cut-off photos again"),
    Reason.DAMAGED: (
        "damaged photo or file that is not an image",
        "damaged photos or files that are not images",
        "Open damaged photos in an image viewer and save them again as JPEG or PNG",
    ),
    Reason.TOO_LARGE: ("photo that is too large", "photos that are too large", "Make large photos smaller"),
    Reason.LINK: ("link to a missing file", "links to missing files", "Repair or remove broken links"),
    Reason.SPECIAL: ("entry that is not a regular file", "entries that are not regular files", ""),
    Reason.NAME: (
        "file whose name is not UTF-8",
        "files whose names are not UTF-8",
        "Rename files whose names are not UTF-8",
    ),
    Reason.DENIED: ("file that cannot be opened", "files that cannot be opened", "Check their permissions"),
    Reason.COPY: ("copy of another photo", "copies of other photos", ""),
    Reason.OTHER_PART: (
        "copy of a photo in another part of the split",
        "copies of photos in another part of the split",
        "",
    ),
    Reason.LOOSE: (
        "photo outside the label folders",
        "photos outside the label folders",
        "Move each into the folder of its label",
    ),
    Reason.TWO_LABELS: (
        "photo that is the same under another label",
        "photos that are the same under another label",
        "Keep such a photo under one label only",
    ),
}


def count_reasons(left_out: Iterable[LeftOut]) -> str:
    """Return ``2 HEIC photos: a.heic, b.heic; 1 video: c.mov``."""
    return "; ".join(_counted(reason, files) for reason, files in _by_reason(left_out).items())


def next_steps(left_out: Iterable[LeftOut]) -> str:
    """Return the next steps for the files, one sentence per reason."""
    steps = (_PHRASES[reason][2] for reason in _by_reason(left_out))
    return ". ".join(step for step in steps if step)


def describe_left_out(left_out: Sequence[LeftOut]) -> list[str]:
    """Return one sentence per reason, with the number of files, the first names and the next step."""
    lines = []
    for reason, files in _by_reason(left_out).items():
        step = _PHRASES[reason][2]
        lines.append(f"not read: {_counted(reason, files)}{f'. {step}' if step else ''}")
    return lines


def reasons_to_dict(left_out: Sequence[LeftOut], root: Path) -> list[dict[str, str]]:
    """Return JSON-serializable entries with ``path`` relative to `root`, ``label`` and ``reason``."""
    return [
        {
            "path": shown(item.path.relative_to(root) if item.path != root else item.path.name),
            "label": item.label or "",
            "reason": str(item.reason),
        }
        for item in left_out
    ]


def _by_reason(left_out: Iterable[LeftOut]) -> dict[Reason, list[Path]]:
    found: dict[Reason, list[Path]] = {}
    for item in left_out:
        found.setdefault(item.reason, []).append(item.path)
    return dict(sorted(found.items(), key=lambda item: list(Reason).index(item[0])))


def _counted(reason: Reason, files: Sequence[Path]) -> str:
    one, several, _ = _PHRASES[reason]
    phrase = f"{len(files)} {one if len(files) == 1 else several}"
    if reason is Reason.NOT_A_PHOTO:
        suffixes = Counter(path.suffix.lower() or "no suffix" for path in files)
        names = [f"{suffix} {count}" for suffix, count in suffixes.most_common()]
    else:
        names = [shown(Path(path.parent.name) / path.name) for path in files]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{phrase} ({', '.join(names[:_NAMED])}{more})"
