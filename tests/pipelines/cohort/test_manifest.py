"""Cohorts as people write them: what is meant is read, and what is wrong is listed at once."""

import pickle
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from pipelines.cohort.manifest import COLUMNS, Entry, read_cohort, read_manifest
from pipelines.errors import ManifestError, UsageError
from pipelines.runfolder import image_path
from wsi.ref import SlideRef


def write(folder: Path, text: str | bytes, name: str = "cohort.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def ids(entries: Sequence[Entry]) -> list[str]:
    return [entry.ref.slide_id for entry in entries]


def complaint(path: Path) -> str:
    with pytest.raises(ManifestError) as caught:
        read_manifest(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_path_is_enough(tmp_path: Path) -> None:
    (entry,) = read_manifest(write(tmp_path, "path\na.svs\n"))
    assert entry == Entry(
        ref=SlideRef(path=tmp_path / "a.svs", slide_id="a", mpp_source="manifest")
    )


def test_every_column_is_read(tmp_path: Path) -> None:
    text = (
        "label,path,mpp,split,mask,slide_id,patient_id\ntumour,x/a.svs,0.25,train,m/a.png,s1,p1\n"
    )
    (entry,) = read_manifest(write(tmp_path, text))
    assert entry == Entry(
        ref=SlideRef(
            path=tmp_path / "x" / "a.svs",
            slide_id="s1",
            mpp=0.25,
            mpp_source="manifest",
            mask=tmp_path / "m" / "a.png",
        ),
        patient_id="p1",
        label="tumour",
        split="train",
    )
    assert pickle.loads(pickle.dumps(entry)) == entry


def test_relative_paths_are_relative_to_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lists").mkdir()
    write(tmp_path / "lists", "path,mask\n../a.svs,../a.png\n/data/b.svs,/data/b.png\n")
    monkeypatch.chdir(tmp_path)
    first, second = read_manifest(Path("lists") / "cohort.csv")
    assert first.ref.path.resolve() == tmp_path / "a.svs"
    assert first.ref.mask is not None
    assert first.ref.mask.resolve() == tmp_path / "a.png"
    assert (second.ref.path, second.ref.mask) == (Path("/data/b.svs"), Path("/data/b.png"))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('path,label\n"a, b.svs","says ""x"""\n', ["a, b"]),
        ("path\nä/é µ.svs\n日本.svs\n", ["é µ", "日本"]),
        ("\ufeffpath,label\na.svs,x\n", ["a"]),
        ("path,label\r\na.svs,x\r\nb.svs,y\r\n", ["a", "b"]),
        ("path\n\na.svs\n\n\nb.svs\n\n", ["a", "b"]),
        ("path,label\n\n a.svs , x \n", ["a"]),
        ("path\na.svs", ["a"]),
        ("path\nscan.ome.tiff\nb.v2.svs\n", ["scan", "b.v2"]),
        ("path,slide_id\na.svs,007\nb.svs,1e5\nc.svs,2020-01-01\n", ["007", "1e5", "2020-01-01"]),
    ],
    ids=["quotes", "unicode", "bom", "crlf", "empty lines", "spaces", "no end", "suffixes", "text"],
)
def test_csv_as_it_comes(tmp_path: Path, text: str, names: list[str]) -> None:
    assert ids(read_manifest(write(tmp_path, text))) == names


@pytest.mark.parametrize("empty", ["", " ", '""', "NA"])
def test_an_empty_cell_says_nothing(tmp_path: Path, empty: str) -> None:
    header = ",".join(COLUMNS)
    row = ",".join(["a.svs", *[empty] * (len(COLUMNS) - 1)])
    (entry,) = read_manifest(write(tmp_path, f"{header}\n{row}\n"))
    assert entry == Entry(
        ref=SlideRef(path=tmp_path / "a.svs", slide_id="a", mpp_source="manifest")
    )


def test_a_word_for_no_value_is_text_in_quotes(tmp_path: Path) -> None:
    text = 'path,patient_id,label\n"a, NA.svs","NA",\tNULL\nb.svs,5" wide,"n/a"\nc.svs,nan, NA \n'
    first, second, third = read_manifest(write(tmp_path, text))
    assert (first.ref.slide_id, first.patient_id, first.label) == ("a, NA", "NA", None)
    assert (second.patient_id, second.label) == ('5" wide', "n/a")
    assert (third.patient_id, third.label) == (None, None)


def test_rows_without_a_value_are_passed_over_and_counted(tmp_path: Path) -> None:
    text = "path,mpp\n\na.svs,0.5\n,\n\nb.svs,abc\n , NA\n,\n"
    assert "row 6: mpp 'abc'" in complaint(write(tmp_path, text))
    assert ids(read_manifest(write(tmp_path, text.replace("abc", "0.5")))) == ["a", "b"]


def test_parquet_that_tells_nothing_tells_nothing(tmp_path: Path) -> None:
    nothing = float("nan")
    columns: dict[str, list[Any]] = {
        "path": ["a.svs", "b.svs", None],
        "slide_id": [nothing, 5.0, nothing],
        "patient_id": [101.0, nothing, nothing],
        "label": [b"x", b"NA", None],
    }
    parquet.write_table(pa.table(columns), tmp_path / "cohort.parquet")
    first, second = read_manifest(tmp_path / "cohort.parquet")
    assert (first.ref.slide_id, first.patient_id, first.label) == ("a", "101", "x")
    assert (second.ref.slide_id, second.patient_id, second.label) == ("5", None, "NA")
    columns["label"] = [b"\xff", None, None]
    parquet.write_table(pa.table(columns), tmp_path / "cohort.parquet")
    assert "row 1" in complaint(tmp_path / "cohort.parquet")


def test_parquet_says_the_same_as_csv(tmp_path: Path) -> None:
    columns: dict[str, list[Any]] = {
        "path": ["a.svs", "b.svs", "c.svs"],
        "slide_id": [1, 2, 3],
        "label": ["x", None, "é"],
        "mpp": [0.25, float("nan"), None],
    }
    parquet.write_table(pa.table(columns), tmp_path / "cohort.parquet")
    text = "path,slide_id,label,mpp\na.svs,1,x,0.25\nb.svs,2,,\nc.svs,3,é,\n"
    assert read_manifest(tmp_path / "cohort.parquet") == read_manifest(write(tmp_path, text))


@pytest.mark.parametrize("mpp", ["abc", "0,25", "0.25 um", "-0.5", "0", "inf", "1e999"])
def test_a_resolution_that_is_none_is_refused(tmp_path: Path, mpp: str) -> None:
    said = complaint(write(tmp_path, f'path,mpp\na.svs,"{mpp}"\n'))
    assert "row 2" in said
    assert f"'{mpp}'" in said


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("path,colour\na.svs,red\n", "colour"),
        ("slide_id,label\na,x\n", "'path' is needed"),
        ("path;label\na.svs;x\n", "path;label"),
        ("path,path\na.svs,b.svs\n", "once each"),
        ("Path\na.svs\n", "Path"),
    ],
)
def test_other_columns_are_refused(tmp_path: Path, text: str, named: str) -> None:
    said = complaint(write(tmp_path, text))
    assert named in said
    assert ", ".join(COLUMNS) in said


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"", "x.csv"),
        (b"path,label\na.svs\n", "x.csv"),
        (b"path,label\na.svs,\xe9\n", "x.csv"),
        (b"path,lab\xe9l\na.svs,x\n", "x.csv"),
        (b"path\n", "x.csv"),
        (b"path,label\n,x\n", "x.csv"),
        (b"not parquet", "x.parquet"),
        (b"", "x.parquet"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(tmp_path: Path, content: bytes, name: str) -> None:
    complaint(write(tmp_path, content, name))


@pytest.mark.parametrize("name", ["none.csv", "none.parquet"])
def test_a_missing_manifest_is_refused(tmp_path: Path, name: str) -> None:
    complaint(tmp_path / name)


def test_a_folder_is_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    complaint(tmp_path / "folder.csv")


def test_a_missing_slide_is_not_the_manifests_fault(tmp_path: Path) -> None:
    assert ids(read_manifest(write(tmp_path, "path\nnowhere/a.svs\n"))) == ["a"]


@pytest.mark.parametrize(
    "slide_id",
    [
        *("../x", "a/b", "a\\b", "..", ".", ".hidden", "/etc/passwd", "a:b", "a*", "a\tb"),
        *("x" * 201, "é" * 101, "trailing."),
    ],
)
def test_an_id_that_is_no_folder_name_is_refused(tmp_path: Path, slide_id: str) -> None:
    said = complaint(write(tmp_path, f'path,slide_id\na.svs,"{slide_id}"\nb.svs,fine\n'))
    assert repr(slide_id) in said
    assert str(tmp_path / "a.svs") in said
    assert "column slide_id" in said
    assert "fine" not in said


def test_the_longest_ids_are_folder_names(tmp_path: Path) -> None:
    long = ["x" * 200, "é" * 100]
    assert (
        ids(read_manifest(write(tmp_path, f"path,slide_id\na.svs,{long[0]}\nb.svs,{long[1]}\n")))
        == long
    )
    for name in long:
        (tmp_path / name).mkdir()


def test_ids_that_are_spelt_with_other_code_points_are_the_same(tmp_path: Path) -> None:
    said = complaint(write(tmp_path, "path,slide_id\n1.svs,caf\u00e9\n2.svs,cafe\u0301\n"))
    assert "is used 2 times" in said


def test_ids_that_differ_by_case_are_the_same_folder_on_some_systems(tmp_path: Path) -> None:
    said = complaint(write(tmp_path, "path,slide_id\n1.svs,Case\n2.svs,case\n3.svs,other\n"))
    assert "'Case' is used 2 times" in said
    assert "1.svs" in said
    assert "2.svs" in said
    assert "3.svs" not in said


def test_the_same_name_in_two_folders_needs_ids(tmp_path: Path) -> None:
    assert "'a' is used 2 times" in complaint(write(tmp_path, "path\nx/a.svs\ny/a.svs\n"))
    text = "path,slide_id\nx/a.svs,xa\ny/a.svs,ya\n"
    assert ids(read_manifest(write(tmp_path, text))) == ["xa", "ya"]


def test_a_patient_in_two_splits_is_refused_by_name(tmp_path: Path) -> None:
    text = (
        "path,patient_id,split\n"
        "a.svs,p1,train\nb.svs,p1,test\nc.svs,p2,train\nd.svs,p2,train\ne.svs,p3,\nf.svs,p3,test\n"
    )
    said = complaint(write(tmp_path, text))
    assert "patient 'p1' is in splits test, train" in said
    assert "p2" not in said
    assert "p3" not in said


def test_one_patient_in_two_spellings_is_refused_by_both(tmp_path: Path) -> None:
    text = "path,patient_id,split\na.svs,M\u00fcller,train\nb.svs,mu\u0308ller,test\n"
    said = complaint(write(tmp_path, text))
    assert r"patient 'M\xfcller' (also written 'mu\u0308ller') is in splits test, train" in said


def test_one_file_in_two_splits_is_refused(tmp_path: Path) -> None:
    text = "path,slide_id,split\na.svs,s1,train\nx/../a.svs,s2,test\nb.svs,s3,test\n"
    said = complaint(write(tmp_path, text))
    assert f"{tmp_path / 'a.svs'} is in splits test, train under the ids 's1', 's2'" in said
    assert "s3" not in said
    assert len(read_manifest(write(tmp_path, text.replace("test", "train")))) == 3


def test_every_problem_is_listed_at_once(tmp_path: Path) -> None:
    text = (
        "path,slide_id,patient_id,split,mpp\n"
        "a.svs,s1,p1,train,abc\n"
        ",s2,p1,train,\n"
        "c.svs,same,p2,train,0.5\n"
        "d.svs,same,p2,test,0.5\n"
        "e.svs,../x,p3,test,0.5\n"
    )
    said = complaint(write(tmp_path, text))
    for part in ("row 2: mpp 'abc'", "row 3: no path", "'same'", "patient 'p2'", "'../x'"):
        assert part in said


def test_folders_and_files_together(tmp_path: Path) -> None:
    for name in ("in/b.svs", "in/deep/a.NDPI", "in/notes.txt", "in/c.tiff", "z.svs", "m.mrxs"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    entries = read_cohort([tmp_path / "z.svs", tmp_path / "in"])
    assert ids(entries) == ["z", "b", "c", "a"]
    assert all(entry.ref.mpp is None and entry.label is None for entry in entries)
    with pytest.raises(ManifestError, match="'z' is used 2 times"):
        read_cohort([tmp_path, tmp_path / "z.svs"])


@pytest.mark.parametrize("inside", ["out", "."])
def test_results_that_lie_among_the_slides_are_none(tmp_path: Path, inside: str) -> None:
    out = tmp_path / inside
    (tmp_path / "a.svs").touch()
    for folder in (out / "slides" / "a", tmp_path / "before" / "slides" / "b"):
        (folder / "image.ome.zarr").mkdir(parents=True)
    entries = read_cohort([tmp_path], result_of=partial(image_path, out))
    assert ids(entries) == ["a", "b"]  # the results of another run are slides
    with pytest.raises(ManifestError, match="'a' is used 2 times"):
        read_cohort([tmp_path])
    results = read_cohort([tmp_path / "before"], result_of=partial(image_path, tmp_path / "before"))
    assert ids(results) == ["b"]  # which the run refuses, since it would replace them


def test_urls_are_slides_here_and_in_manifests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = ["s3://bucket/x/a.ome.zarr", "https://host/b.zarr/", "memory://c.zarr"]
    manifest = write(tmp_path, "\n".join(["path", *urls, "file:///d.svs", "e.svs"]))
    monkeypatch.chdir(tmp_path)
    for entries in (read_cohort([*urls, "file:///d.svs", "e.svs"]), read_manifest(manifest)):
        assert ids(entries) == ["a", "b", "c", "d", "e"]
        shown = [str(entry.ref.path) for entry in entries]
        assert shown == [*(u.rstrip("/") for u in urls), "/d.svs", str(tmp_path / "e.svs")]
        assert pickle.loads(pickle.dumps(entries)) == entries


def test_urls_that_cannot_be_read_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="s3://"):
        read_cohort(["ftp://host/a.zarr"])
    urls = ["ftp://host/a.zarr", "https://u:p@host/b.zarr", "https://host/c.svs?token=secret"]
    said = complaint(write(tmp_path, "\n".join(["path", *urls])))
    assert "row 2: ftp://host/a.zarr" in said
    assert "row 3: https://host/b.zarr: the URL holds a password" in said
    assert "row 4: https://host/c.svs: the URL holds a query" in said
    assert "secret" not in said


@pytest.mark.parametrize(
    ("mask", "why"),
    [
        ("https://host/a.png", "mask https://host/a.png: masks are read from disks alone"),
        ("https://secret@host/a.png", "https://host/a.png: the URL holds a password or a token"),
        ("https://host/a.png?t=secret", "https://host/a.png: the URL holds a query"),
    ],
)
def test_masks_behind_urls_are_refused(tmp_path: Path, mask: str, why: str) -> None:
    said = complaint(write(tmp_path, f"path,mask\na.svs,\nb.svs,{mask}\n"))
    assert f"row 3: {why}" in said
    assert "secret" not in said


def test_a_mask_beside_a_manifest_behind_a_url_is_refused(tmp_path: Path, web_server: Any) -> None:
    write(tmp_path, "path,mask\na.svs,a.png\n")
    with pytest.raises(ManifestError, match=r"row 2: mask http://.*/a\.png: .* from disks alone"):
        read_cohort([f"{web_server.url}/cohort.csv"])


def test_a_path_that_no_file_can_have_is_a_problem_of_its_row(tmp_path: Path) -> None:
    assert "row 3: 'b\\x00.svs': no path" in complaint(write(tmp_path, "path\na.svs\nb\0.svs\n"))


def test_a_query_beside_a_manifest_behind_a_url_is_refused(tmp_path: Path, web_server: Any) -> None:
    write(tmp_path, "path\na.svs?token=secret\n")
    with pytest.raises(ManifestError, match=r"row 2: http://.*/a\.svs: .*a query") as caught:
        read_cohort([f"{web_server.url}/cohort.csv"])
    assert "secret" not in str(caught.value)
    with pytest.raises(UsageError, match="holds a query"):
        read_cohort([f"{web_server.url}/cohort.csv?token=secret"])


def test_a_file_of_another_kind_is_taken_at_its_word(tmp_path: Path) -> None:
    """Its verdict will say that no reader opens it."""
    assert ids(read_cohort([tmp_path / "scan.xyz"])) == ["scan"]


def test_nothing_is_no_cohort() -> None:
    with pytest.raises(ManifestError, match="no slides"):
        read_cohort([])


@pytest.mark.parametrize("other", ["a.svs", ".", "second.csv"])
def test_a_manifest_stands_alone(tmp_path: Path, other: str) -> None:
    manifest = write(tmp_path, "path\na.svs\n")
    for arguments in ([manifest, tmp_path / other], [tmp_path / other, manifest]):
        with pytest.raises(UsageError, match="not both"):
            read_cohort(arguments)


def test_a_manifest_on_the_command_line(tmp_path: Path) -> None:
    manifest = write(tmp_path, "path\na.svs\n", "COHORT.CSV")
    assert read_cohort([manifest]) == read_manifest(manifest)


def test_the_flag_fills_in_where_the_manifest_is_silent(tmp_path: Path) -> None:
    manifest = write(tmp_path, "path,mpp\na.svs,0.25\nb.svs,\n")
    said, silent = read_cohort([manifest], mpp=0.5)
    assert (said.ref.mpp, said.ref.mpp_source) == (0.25, "manifest")
    assert (silent.ref.mpp, silent.ref.mpp_source) == (0.5, "flag")
    (alone,) = read_cohort([tmp_path / "c.svs"], mpp=0.5)
    assert (alone.ref.mpp, alone.ref.mpp_source) == (0.5, "flag")
    assert [entry.ref.mpp for entry in read_cohort([manifest])] == [0.25, None]


def test_parquet_whose_text_is_none_is_refused(tmp_path: Path) -> None:
    values = pa.array([b"\xff\xfe.svs"], pa.binary()).view(pa.string())
    path = tmp_path / "cohort.parquet"
    parquet.write_table(pa.table({"path": values}), path)
    with pytest.raises(ManifestError, match=r"cohort\.parquet: 'utf-8' codec"):
        read_manifest(path)


def test_whole_numbers_of_parquet_are_written_as_such(tmp_path: Path) -> None:
    columns = {"path": ["a.svs", "b.svs"], "patient_id": [101.0, None], "mpp": [0.25, 1.0]}
    parquet.write_table(pa.table(columns), tmp_path / "m.parquet")
    first, second = read_manifest(tmp_path / "m.parquet")
    assert (first.patient_id, second.patient_id) == ("101", None)
    assert (first.ref.mpp, second.ref.mpp) == (0.25, 1.0)
