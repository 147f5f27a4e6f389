"""The documented endpoints about files, in one process."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.credentials.kinds import Role
from tests.plugins.task_scheduler.kit import Tasks, tasks


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Tasks]:
    async with tasks(tmp_path) as made:
        yield made


async def left(api: Tasks, files: dict[str, bytes], user_id: str = "admin") -> str:
    """Return an ended task that left some files."""
    task_id, attempt = await api.running(user_id=user_id)
    attempt.files = files
    attempt.end()
    await api.until(task_id, "completed")
    return task_id


async def test_files_of_a_user_are_listed_as_documented_and_as_upstream_does(api: Tasks) -> None:
    first = await left(api, {"results/output.txt": b"x" * 1024, "a.bin": b""})
    second = await left(api, {"b.json": b"{}"})
    await left(api, {}, user_id="admin")
    await left(api, {"c.txt": b"c"}, user_id="other")
    found = await api.read("/api/files?user_id=admin")
    assert (found["user_id"], found["count"]) == ("admin", 3)
    assert [(one["task_id"], one["file_path"]) for one in found["files"]] == [
        (second, "b.json"),
        (first, "a.bin"),
        (first, "results/output.txt"),
    ]
    output = found["files"][2]
    assert (output["file_name"], output["file_size"], output["content_type"]) == ("output.txt", 1024, "text/plain")
    assert output["uploaded_at"] > 0
    assert output["file_id"] == f"{first}/results/output.txt"
    assert (output["path"], output["size"]) == ("results/output.txt", 1024)
    assert [(one["task_id"], one["task_name"], one["total_size"]) for one in found["tasks"]] == [
        (second, "nginx:latest", 2),
        (first, "nginx:latest", 1024),
    ]
    assert (await api.read("/api/files?user_id=nobody"))["files"] == []


async def test_files_of_a_task_have_the_union_of_both_field_sets(api: Tasks) -> None:
    task_id = await left(api, {"output.txt": b"hello"})
    found = await api.read(f"/api/files/{task_id}?user_id=admin")
    assert (found["task_id"], found["user_id"], found["total_size"]) == (task_id, "admin", 5)
    assert [one["file_name"] for one in found["files"]] == ["output.txt"]
    assert found["timestamp"] > 0


async def test_download_has_type_range_and_attachment(api: Tasks) -> None:
    task_id = await left(api, {"d/page one.html": b"<script>alert(1)</script>"})
    path = f"/api/files/{task_id}/download/d/page%20one.html?user_id=admin"
    reply = await api.send("GET", path)
    assert (reply.status, reply.body) == (200, b"<script>alert(1)</script>")
    assert reply.headers["content-type"].startswith("text/html")
    assert reply.headers["content-disposition"].startswith('attachment; filename="page one.html"')
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["content-security-policy"] == "sandbox"
    part = await api.send("GET", path, headers={"Range": "bytes=1-6"})
    assert (part.status, part.body, part.headers["content-range"]) == (206, b"script", "bytes 1-6/25")
    assert (await api.send("GET", path, headers={"Range": "bytes=99-"})).status == 416


async def test_path_that_leads_elsewhere_is_refused_and_never_leaks(api: Tasks) -> None:
    task_id = await left(api, {"ok.txt": b"ok"})
    for path in (
        "../log",
        "%2e%2e/log",
        "..%2flog",
        "a/../ok.txt",
        "./ok.txt",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "ok.txt%00",
    ):
        reply = await api.send("GET", f"/api/files/{task_id}/download/{path}?user_id=admin")
        assert reply.status in (400, 404), path
        assert set(reply.json) >= {"error", "message"}
    for path in ("nothing.txt", "log"):
        assert (await api.send("GET", f"/api/files/{task_id}/download/{path}?user_id=admin")).status == 404


async def test_files_are_deleted_once_the_task_has_ended(api: Tasks) -> None:
    running, _ = await api.running()
    assert (await api.send("DELETE", f"/api/files/{running}?user_id=admin")).status == 409
    task_id = await left(api, {"a": b"a"})
    reply = await api.send("DELETE", f"/api/files/{task_id}?user_id=admin")
    assert (reply.status, reply.json) == (
        200,
        {
            "success": True,
            "status": "success",
            "message": f"All files for task {task_id} deleted successfully",
            "task_id": task_id,
        },
    )
    assert (await api.read(f"/api/files/{task_id}?user_id=admin"))["files"] == []
    assert (await api.read(f"/api/tasks/{task_id}"))["status"] == "completed"


async def test_user_is_required_and_decides_on_trusted_requests(api: Tasks) -> None:
    task_id = await left(api, {"a": b"a"}, user_id="user-001")
    paths = (
        ("GET", f"/api/files/{task_id}"),
        ("GET", f"/api/files/{task_id}/download/a"),
        ("DELETE", f"/api/files/{task_id}"),
    )
    for method, path in (*paths, ("GET", "/api/files")):
        for query in ("", "?user_id="):
            reply = await api.send(method, path + query)
            assert (reply.status, reply.json["field"]) == (400, "user_id"), path
    for method, path in paths:
        for query in ("user_id=admin", "user_id=user-001&requesting_user=admin", "user_id=user-001&requesting_user=x"):
            reply = await api.send(method, f"{path}?{query}")
            assert (reply.status, reply.json["error"][:15]) == (403, "access denied: "), query
    for query in ("user_id=user-001", "user_id=user-001&requesting_user=user-001"):
        assert (await api.send("GET", f"{paths[1][1]}?{query}")).body == b"a"


async def test_unknown_task_has_no_files(api: Tasks) -> None:
    for method, path in (("GET", ""), ("GET", "/download/a"), ("DELETE", "")):
        assert (await api.send(method, f"/api/files/task-1{path}?user_id=admin")).status == 404


async def test_persons_have_their_own_files_whatever_the_parameters_say_and_admins_all(api: Tasks) -> None:
    ana, bob = await api.as_("ana"), await api.as_("bob")
    op, boss = await api.as_("op", Role.OPERATOR), await api.as_("boss", Role.ADMIN)
    task_id = await left(ana, {"a": b"a"}, user_id="user-001")
    path = f"/api/files/{task_id}/download/a"
    for user_id in ("user-001", "ana"):
        assert (await ana.send("GET", f"{path}?user_id={user_id}")).body == b"a"
        assert (await boss.send("GET", f"{path}?user_id={user_id}")).body == b"a"
        assert (await bob.send("GET", f"{path}?user_id={user_id}&requesting_user=ana")).status == 404
        assert (await op.send("GET", f"{path}?user_id={user_id}&requesting_user={user_id}")).status == 403
        assert (await ana.read(f"/api/files?user_id={user_id}"))["count"] == 1
        for other in (bob, op):
            assert (await other.read(f"/api/files?user_id={user_id}"))["count"] == 0
    assert (await ana.send("GET", f"{path}?user_id=bob")).status == 403
