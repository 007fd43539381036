"""Lanes: each camera or region with its own or a shared learner, for the commands that watch several."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .options import check_named, fps_of, state_path
from .session import open_learner, open_source

if TYPE_CHECKING:
    from device.cameras import Camera
    from device.cameras.regions import Region
    from device.learner import Learner
    from device.live.motion import MotionGate
    from device.live.regions import CameraPlan


@dataclass(frozen=True)
class Lane:
    """A camera or region with its learner.

    Attributes:
        name: Its name; "" for the only camera without regions.
        camera: The camera.
        region: The part of its frames; None for whole frames.
        learner: The learner, its own or the shared one.
        state: Path of the state file.
    """

    name: str
    camera: CameraPlan
    region: Region | None
    learner: Learner
    state: Path

    @property
    def names(self) -> tuple[str, str]:
        """The names under which options may mean it: its own, and that of its camera."""
        return self.name or self.camera.name, self.camera.name


def open_lanes(stack: ExitStack, options: Mapping[str, Any], *, read_only: bool) -> list[Lane]:
    """Open the learner of each camera and region that the options name; `stack` closes them.

    There is one backbone in RAM. With ``--shared-state``, or with a single camera without regions, there is one
    learner.
    """
    from device.live.regions import plan_cameras

    plans = plan_cameras(options["camera"] or _from_environment(), options["region"])
    watched = [(plan, name, region) for plan in plans for name, region in plan.watched]
    check_named(
        options, list(dict.fromkeys([*(plan.name for plan in plans), *(name for _, name, _ in watched)]))
    )
    single = len(plans) == 1 and not options["region"]
    shared = single or options["shared_state"]
    base = state_path(options["model"], options["state"])
    paths = [base if shared else base.with_name(f"{base.stem}.{name}{base.suffix}") for _, name, _ in watched]
    named = options if shared else {**options, "state": paths[0]}
    first = stack.enter_context(open_learner(named, read_only=read_only))
    learners = [first]
    for path in paths[1:]:
        learners.append(first if shared else stack.enter_context(_beside(first, path, read_only)))
    for learner in dict.fromkeys(learners):
        stack.enter_context(learner.settling())
    return [
        Lane("" if single else name, plan, region, learner, path)
        for (plan, name, region), learner, path in zip(watched, learners, paths, strict=True)
    ]


def _from_environment() -> list[str]:
    """Return the cameras in EDGETL_CAMERA, one per line."""
    lines = os.environ.get("EDGETL_CAMERA", "").splitlines()
    return [line.strip() for line in lines if line.strip()]


def _beside(first: Learner, path: Path, read_only: bool) -> Learner:
    return first.beside(None if read_only and not path.exists() else path)


def open_plan(plan: CameraPlan, options: Mapping[str, Any], **more: Any) -> Camera:
    """Open a camera with the options of frames and its own rate."""
    own = {**options, "camera": plan.source, "fps": fps_of(options, plan.name)}
    return open_source(own, **more)


def by_camera(lanes: Sequence[Lane]) -> dict[str, list[Lane]]:
    """Return the lanes of each camera, by its name."""
    found: dict[str, list[Lane]] = {}
    for lane in lanes:
        found.setdefault(lane.camera.name, []).append(lane)
    return found


def gate_of(options: Mapping[str, Any]) -> MotionGate | None:
    """Return a new gate if ``--motion`` is given."""
    from device.live.motion import MotionGate

    return MotionGate(options["motion_threshold"]) if options["motion"] else None
