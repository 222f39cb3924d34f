"""What AllenSDK finds in a directory; runs in an environment of its own, with its own old pins.

    python ask.py MODE CACHE_DIR QUESTIONS

MODE is static, local or s3; QUESTIONS is JSON: {"manifest": name or null, "session": id,
"experiment": id, "compare": [name, name] or null}.  The answers are JSON on stdout.
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import Any

import numpy as np
from allensdk.brain_observatory.behavior.behavior_project_cache import (
    VisualBehaviorOphysProjectCache,
)
from fingerprint import fingerprint  # Beside this file: it runs as a program.

OURS = ("OutdatedManifestWarning", "MissingLocalManifestWarning")


def opened(mode: str, cache_dir: str) -> Any:
    if mode == "static":
        return VisualBehaviorOphysProjectCache.from_local_cache(cache_dir, use_static_cache=True)
    if mode == "local":
        return VisualBehaviorOphysProjectCache.from_local_cache(cache_dir)
    return VisualBehaviorOphysProjectCache.from_s3_cache(cache_dir)


def session(cache: Any, ident: int) -> dict[str, Any]:
    found = cache.get_behavior_session(ident)
    return {
        "id": int(found.metadata["behavior_session_id"]),
        "mouse": str(found.metadata["mouse_id"]),
        "speed": fingerprint(found.running_speed["speed"].to_numpy()),
        "trials": len(found.trials),
        "presentations": len(found.stimulus_presentations),
        "templates": len(found.stimulus_templates),
    }


def experiment(cache: Any, ident: int) -> dict[str, Any]:
    found = cache.get_behavior_ophys_experiment(ident)
    return {
        "id": int(found.metadata["ophys_experiment_id"]),
        "cells": len(found.cell_specimen_table),
        "dff": fingerprint(np.stack(found.dff_traces["dff"].to_list())),
        "events": len(found.events),
        "projection": list(found.max_projection.data.shape),
        "depth": int(found.metadata["imaging_depth"]),
    }


def main(mode: str, cache_dir: str, asked: dict[str, Any]) -> dict[str, Any]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cache = opened(mode, cache_dir)
        first = cache.current_manifest()
        if asked["manifest"]:
            cache.load_manifest(asked["manifest"])
        answers = {
            "first": first,
            "manifest": cache.current_manifest(),
            "downloaded": cache.list_all_downloaded_manifests(),
            "tables": {
                "behavior_sessions": len(cache.get_behavior_session_table(as_df=True)),
                "ophys_sessions": len(cache.get_ophys_session_table()),
                "experiments": len(cache.get_ophys_experiment_table()),
                "cells": len(cache.get_ophys_cells_table()),
            },
            "session": session(cache, asked["session"]),
            "experiment": experiment(cache, asked["experiment"]),
            "compared": cache.compare_manifests(*asked["compare"]) if asked["compare"] else None,
        }
    names = {one.category.__name__ for one in caught}
    return {**answers, "warned": sorted(name for name in names if name in OURS)}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))))
