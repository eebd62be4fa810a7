"""Tests the test kit's Data Lake server with Microsoft's SDK, so that the server and our client cannot share the
same mistakes. Usage: dfs_server.py ACCOUNT_URL"""

import sys
from datetime import datetime, timedelta, timezone

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.storage.filedatalake import (
    AccountSasPermissions,
    DataLakeServiceClient,
    FileSystemSasPermissions,
    ResourceTypes,
    generate_account_sas,
    generate_file_system_sas,
)

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def soon():
    return datetime.now(timezone.utc) + timedelta(hours=1)


def refused(code, call, *arguments, **options):
    try:
        call(*arguments, **options)
    except HttpResponseError as error:
        assert error.error_code == code, f"wanted {code}, got {error.error_code}"
        return
    raise AssertionError(f"{code} was not raised")


def whole_life(service):
    lake = service.create_file_system("lake")
    refused("FilesystemAlreadyExists", service.create_file_system, "lake")
    temporary = lake.get_file_client("_temporary/users žluťoučký.json")
    temporary.create_file()
    temporary.append_data(b"world", offset=6)
    temporary.append_data(b"hello ", offset=0)
    assert temporary.get_file_properties().size == 0, "appended data must be invisible"
    refused("InvalidFlushPosition", temporary.flush_data, 10)
    temporary.flush_data(11)
    assert temporary.download_file().readall() == b"hello world"
    refused("RenameDestinationParentPathNotFound", temporary.rename_file, "lake/users/users.json")
    lake.create_directory("users")
    published = temporary.rename_file("lake/users/users.json")
    assert published.download_file().readall() == b"hello world"
    assert published.get_file_properties().size == 11
    assert not temporary.exists()
    refused("SourcePathNotFound", temporary.rename_file, "lake/users/again.json")

    published.upload_data(b"shorter", overwrite=True)
    assert published.download_file().readall() == b"shorter"
    refused("PathAlreadyExists", published.create_file, match_condition=MatchConditions.IfMissing)
    names = sorted(path.name for path in lake.get_paths(recursive=True))
    assert names == ["_temporary", "users", "users/users.json"], names
    assert [path.name for path in lake.get_paths("users")] == ["users/users.json"]
    assert len(list(lake.get_paths(recursive=True, max_results=1))) == 3, "paging"
    lake.delete_directory("_temporary")
    published.delete_file()
    try:
        published.download_file()
        raise AssertionError("a deleted file was read")
    except ResourceNotFoundError:
        pass
    service.delete_file_system("lake")


def rights(url):
    whole = generate_account_sas(
        ACCOUNT, KEY, ResourceTypes(service=True, file_system=True, object=True), AccountSasPermissions(write=True), soon()
    )
    DataLakeServiceClient(url, credential=whole).create_file_system("first")
    DataLakeServiceClient(url, credential=whole).create_file_system("second")
    scoped = generate_file_system_sas(ACCOUNT, "first", KEY, FileSystemSasPermissions(read=True, write=True, create=True), soon())
    service = DataLakeServiceClient(url, credential=scoped)
    file = service.get_file_client("first", "a.json")
    file.upload_data(b"a", overwrite=True)
    refused("AuthorizationPermissionMismatch", file.delete_file)
    refused("AuthenticationFailed", service.get_file_client("second", "a.json").create_file)
    old = generate_file_system_sas(
        ACCOUNT, "first", KEY, FileSystemSasPermissions(read=True), datetime.now(timezone.utc) - timedelta(minutes=1)
    )
    refused("AuthenticationFailed", DataLakeServiceClient(url, credential=old).get_file_client("first", "a.json").create_file)


def main(url):
    sas = generate_account_sas(
        ACCOUNT,
        KEY,
        ResourceTypes(service=True, file_system=True, object=True),
        AccountSasPermissions(read=True, write=True, delete=True, list=True, create=True),
        soon(),
    )
    whole_life(DataLakeServiceClient(url, credential=sas))
    rights(url)
    print("the official SDK and the Data Lake server agree")


main(sys.argv[1])
