"""W&B's GraphQL as far as the stand-in of its server speaks it: one function an operation, found by its name."""

import json
import re
from collections.abc import Callable
from typing import Any

import yaml
from wandb_kept import ENTITY, Artifact, Kept, Run, Sweep

Answer = Callable[[Kept, dict[str, Any]], dict[str, Any]]
ANSWERS: dict[str, Answer] = {}


def operation(text: str) -> str:
    """The name of a document's first operation."""
    found = re.search(r"\b(?:query|mutation)\s+(\w+)", text)
    return found[1] if found else "(no name)"


def answers(*names: str) -> Callable[[Answer], Answer]:
    def keep(function: Answer) -> Answer:
        ANSWERS.update(dict.fromkeys(names, function))
        return function

    return keep


def _page(nodes: list[dict[str, Any]]) -> dict[str, Any]:
    edges = [{"node": node, "cursor": str(place)} for place, node in enumerate(nodes)]
    return {"totalCount": len(nodes), "edges": edges, "pageInfo": {"endCursor": None, "hasNextPage": False}}


def _project(name: str) -> dict[str, Any]:
    return {"id": f"project-{name}", "internalId": "1", "name": name, "entity": {"id": ENTITY, "name": ENTITY}}


# who asks, and what the server can do


@answers("Viewer", "GetViewer", "GetDefaultEntity")
def viewer(kept: Kept, said: dict[str, Any]) -> dict[str, Any]:
    user = {"id": "1", "entity": ENTITY, "username": ENTITY, "name": ENTITY, "email": "me@example.org", "flags": "{}"}
    more = {"admin": False, "deletedAt": None, "apiKeys": _page([]), "teams": _page([{"name": ENTITY}])}
    return {"viewer": {**user, **more}}


@answers("ServerFeaturesQuery")
def features(kept: Kept, said: dict[str, Any]) -> dict[str, Any]:
    return {"serverInfo": {"features": []}}


@answers("OrganizationCoreWeaveOrganizationID")
def organization(kept: Kept, said: dict[str, Any]) -> dict[str, Any]:
    return {"entity": {"organization": None}}


@answers("XXHashDigestsEnabled")
def digests(kept: Kept, said: dict[str, Any]) -> dict[str, Any]:
    return {"entity": {"xxhashDigestsEnabled": False}}


# runs


@answers("RunResumeStatus")
def resume(kept: Kept, said: dict[str, Any]) -> dict[str, Any]:
    run = kept.runs.get(said["name"])
    if run is None:
        return {"model": {**_project(said["project"]), "bucket": None}}
    history, events = (run.lines.get(f"wandb-{name}.jsonl", []) for name in ("history", "events"))
    counts = {"historyLineCount": len(history), "eventsLineCount": len(events), "logLineCount": 0}
    tails = {"historyTail": json.dumps(history[-1:]), "eventsTail": json.dumps(events[-1:])}
    bucket = {**_bucket(run), **counts, **tails, "wandbConfig": json.dumps({"t": 1})}
    return {"model": {**_project(run.project), "bucket": bucket}}


@answers("UpsertBucket")
def upsert(kept: Kept, said: dict[str, Any]) -> dict[str, Any]:
    known = [run for run in kept.runs.values() if said.get("id") == f"run-{run.serial}"]
    name = known[0].id if known else said["name"]
    inserted = name not in kept.runs
    run = kept.runs.setdefault(name, Run(name, said.get("project") or "uncategorized", kept.number()))
    run.tell(said)
    return {"upsertBucket": {"bucket": {**_bucket(run), "historyLineCount": len(run.history)}, "inserted": inserted}}


def _bucket(run: Run) -> dict[str, Any]:
    """A run as the interface for reading and the resuming client see it."""
    told = {
        "displayName": run.told.get("displayName"),
        "description": None,
        "notes": None,
        "config": run.told.get("config") or "{}",
        "sweepName": run.told.get("sweep"),
        "tags": run.told.get("tags") or [],
        "group": run.told.get("groupName"),
        "jobType": run.told.get("jobType"),
        "summaryMetrics": (run.lines.get("wandb-summary.json") or ["{}"])[-1],
        "historyLineCount": len(run.lines.get("wandb-history.jsonl", [])),
    }
    fixed = {"commit": None, "readOnly": False, "createdAt": "2030-01-01T00:00:00", "heartbeatAt": None}
    keys = {"id": f"run-{run.serial}", "projectId": "1", "name": run.id, "project": _project(run.project)}
    user = {"name": ENTITY, "username": ENTITY}
    return {**keys, **told, **fixed, "state": run.state, "systemMetrics": "{}", "historyKeys": None, "user": user}


@answers("CreateRunFiles")
def run_files(kept: Kept, said: dict[str, Any]) -> dict[str, Any]:
    run, files = kept.runs[said["run"]], []
    for name in said["files"]:
        run.files[name] = f"run-{run.serial}/{kept.number()}"
        files.append({"name": name, "uploadUrl": kept.address(run.files[name])})
    return {"createRunFiles": {"runID": f"run-{run.serial}", "uploadHeaders": [], "files": files}}


@answers("MarkRunFilesUploaded")
def uploaded(kept: Kept, said: dict[str, Any]) -> dict[str, Any]:
    return {"markRunFilesUploaded": {"success": True}}


@answers("Runs")
def listed(kept: Kept, said: dict[str, Any]) -> dict[str, Any]:
    """Filters as trigan uses them: by name, one or several."""
    wanted = json.loads(said["filters"]).get("name")
    names = wanted["$in"] if isinstance(wanted, dict) else list(kept.runs) if wanted is None else [wanted]
    found = [_bucket(run) for run in kept.runs.values() if run.id in names and run.project == said["project"]]
    return {"project": {**_project(said["project"]), "runCount": len(found), "readOnly": False, "runs": _page(found)}}


@answers("Run", "RunState")
def one_run(kept: Kept, said: dict[str, Any]) -> dict[str, Any]:
    run = kept.runs.get(said["name"])
    return {"project": {**_project(said["project"]), "run": run and _bucket(run)}}


@answers("RunFiles")
def files_of(kept: Kept, said: dict[str, Any]) -> dict[str, Any]:
    run = kept.runs[said["name"]]
    there = {name: kept.storage.get(key, b"") for name, key in run.files.items()}
    chosen = {name: body for name, body in there.items() if name in (said["fileNames"] or there)}
    fixed = {"mimetype": "application/json", "updatedAt": "2030-01-01T00:00:00", "md5": ""}
    nodes: list[dict[str, Any]] = []
    for name, body in chosen.items():
        where = kept.address(run.files[name])
        nodes.append({"id": name, "name": name, "url": where, "directUrl": where, "sizeBytes": len(body), **fixed})
    return {"project": {**_project(run.project), "run": {"fileCount": len(nodes), "files": _page(nodes)}}}


# artifacts


@answers("ArtifactType")
def artifact_type(kept: Kept, said: dict[str, Any]) -> dict[str, Any]:
    versions = kept.named(said["name"].partition(":")[0])
    found = {"artifactType": {"name": versions[0].type}} if versions else None
    return {"project": {**_project(said["project"]), "artifact": found}}


@answers("FetchArtifactDigestAlgorithm")
def algorithm(kept: Kept, said: dict[str, Any]) -> dict[str, Any]:
    return {"project": {**_project(said["projectName"]), "artifactType": None}}


@answers("ClientIDMapping")
def client_id(kept: Kept, said: dict[str, Any]) -> dict[str, Any]:
    found = [one.id for one in kept.artifacts if said["clientID"] in one.client_ids]
    return {"clientIDMapping": {"serverID": found[0] if found else None}}


@answers("CreateArtifact")
def create(kept: Kept, said: dict[str, Any]) -> dict[str, Any]:
    """The same content under the same name is the same version, whoever logs it."""
    told = said["input"]
    name, digest = told["artifactCollectionName"], told["digest"]
    versions = [one for one in kept.artifacts if one.name == name]
    same = [one for one in versions if one.digest == digest]
    run = told.get("runName") or ""
    if not same:
        aliases = [alias["alias"] for alias in told.get("aliases") or []]
        metadata = json.loads(told.get("metadata") or "{}")
        key = f"artifact-{kept.number()}"
        same = [Artifact(key, name, told["artifactTypeName"], digest, metadata, aliases, run, len(versions))]
        kept.artifacts += same
    artifact = same[0]
    artifact.logged_by.append(run)
    artifact.client_ids.append(told.get("clientID") or "")
    latest = {"id": versions[-1].id} if versions and versions[-1].committed else None
    state = "COMMITTED" if artifact.committed else "PENDING"
    shown = {"id": artifact.id, "state": state, "artifactSequence": {"latestArtifact": latest}}
    return {"createArtifact": {"artifact": shown}}


@answers("CreateArtifactManifest")
def create_manifest(kept: Kept, said: dict[str, Any]) -> dict[str, Any]:
    artifact = kept.by_id(said["artifactID"])
    artifact.manifest = f"{artifact.id}/{said['name']}"
    return {"createArtifactManifest": {"artifactManifest": _manifest(kept, artifact)}}


@answers("UpdateArtifactManifest")
def update_manifest(kept: Kept, said: dict[str, Any]) -> dict[str, Any]:
    artifact = kept.by_id(said["artifactManifestID"].removesuffix("-manifest"))
    return {"updateArtifactManifest": {"artifactManifest": _manifest(kept, artifact)}}


def _manifest(kept: Kept, artifact: Artifact) -> dict[str, Any]:
    file = {"id": f"{artifact.id}-file", "uploadUrl": kept.address(artifact.manifest), "uploadHeaders": []}
    return {"id": f"{artifact.id}-manifest", "file": file}


@answers("CreateArtifactFiles")
def create_files(kept: Kept, said: dict[str, Any]) -> dict[str, Any]:
    nodes = []
    for file in said["input"]["artifactFiles"]:
        artifact = kept.by_id(file["artifactID"])
        where = artifact.files[file["name"]] = f"{artifact.id}/{kept.number()}"
        shown = {"storagePath": where, "uploadUrl": kept.address(where), "uploadHeaders": []}
        nodes.append({**shown, "uploadMultipartUrls": None, "artifact": {"id": artifact.id}})
    return {"createArtifactFiles": {"files": _page(nodes)}}


@answers("CommitArtifact")
def commit(kept: Kept, said: dict[str, Any]) -> dict[str, Any]:
    artifact = kept.by_id(said["artifactID"])
    artifact.committed = True
    return {"commitArtifact": {"artifact": {"id": artifact.id, "digest": artifact.digest}}}


@answers("UseArtifact")
def use(kept: Kept, said: dict[str, Any]) -> dict[str, Any]:
    artifact = kept.by_id(said["input"]["artifactID"])
    artifact.used_by.append(said["input"]["runName"])
    return {"useArtifact": {"artifact": {"id": artifact.id}}}


# reports


@answers("GetProjects")
def projects(kept: Kept, said: dict[str, Any]) -> dict[str, Any]:
    names = sorted({run.project for run in kept.runs.values()} | {"trigan"})
    fixed = {"entityName": ENTITY, "createdAt": "2030-01-01T00:00:00", "isBenchmark": False, "user": None}
    return {"models": _page([{"__typename": "Project", **_project(name), **fixed} for name in names])}


@answers("ProjectInternalId", "GetProject")
def project(kept: Kept, said: dict[str, Any]) -> dict[str, Any]:
    return {"project": _project(said.get("projectName") or said["name"])}


@answers("upsertView")
def upsert_view(kept: Kept, said: dict[str, Any]) -> dict[str, Any]:
    key = said.get("id") or f"view-{kept.number()}"
    where = {"id": "1", "name": said["projectName"], "entityName": said["entityName"]}
    kept.reports[key] = {**said, "id": key, "project": where, "updatedAt": "2030-01-01T00:00:00"}
    return {"upsertView": {"view": kept.reports[key], "inserted": True}}


# sweeps: a grid of the listed values, one run at a time


@answers("UpsertSweep")
def upsert_sweep(kept: Kept, said: dict[str, Any]) -> dict[str, Any]:
    known = [sweep for sweep in kept.sweeps.values() if sweep.id == said.get("id")]
    sweep = known[0] if known else Sweep(f"sweep{kept.number():03}", said["projectName"], "")
    sweep.config = said.get("config") or sweep.config
    sweep.state = said.get("state") or sweep.state
    kept.sweeps[sweep.id] = sweep
    shown = {"name": sweep.id, "project": _project(sweep.project)}
    return {"upsertSweep": {"sweep": shown, "configValidationWarnings": []}}


@answers("SweepWithRuns")
def sweep_with_runs(kept: Kept, said: dict[str, Any]) -> dict[str, Any]:
    sweep = kept.sweeps.get(said["sweep"])
    if sweep is None:
        return {"project": {**_project(said["project"]), "sweep": None}}
    shown = {"id": sweep.id, "name": sweep.id, "state": sweep.state, "config": sweep.config, "runs": _page([])}
    return {"project": {**_project(sweep.project), "sweep": shown}}


@answers("CreateAgent")
def create_agent(kept: Kept, said: dict[str, Any]) -> dict[str, Any]:
    key = f"agent-{kept.number()}"
    kept.agents[key] = said["sweep"]
    return {"createAgent": {"agent": {"id": key}}}


@answers("Heartbeat")
def heartbeat(kept: Kept, said: dict[str, Any]) -> dict[str, Any]:
    """The next point of the grid if the agent is idle; after the last, the word to stop."""
    sweep = kept.sweeps[kept.agents[said["id"]]]
    commands: list[dict[str, Any]] = []
    if not json.loads(said["runState"]):
        config = yaml.safe_load(sweep.config)
        left = sweep.grid()[len(sweep.started) :]
        if left:
            run = f"sweeprun{len(sweep.started) + 1}"
            sweep.started[run] = left[0]
            arguments = {key: {"value": value} for key, value in left[0].items()}
            commands = [{"type": "run", "run_id": run, "program": config.get("program", ""), "args": arguments}]
        else:
            sweep.state = "FINISHED"
            commands = [{"type": "exit"}]
    return {"agentHeartbeat": {"agent": {"id": said["id"]}, "commands": json.dumps(commands)}}
