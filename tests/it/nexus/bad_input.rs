//! Records, names and places that are not as they should be. None ends an audit, and none makes more go.

use super::*;

/// A store with nothing but images, to which something is done.
fn scene() -> Scene {
    Scene::new(&NexusRecipe {
        repositories: 1,
        images: 1,
        era: Era::Sql,
        junk: false,
        ..NexusRecipe::default()
    })
}

fn record_of(blob: &NexusBlob) -> &str {
    blob.files.last().expect("a record")
}

fn content_of(blob: &NexusBlob) -> &str {
    blob.files.first().expect("content")
}

/// Changes the record of the first blob whose name has `part`, and answers the class that the blob is in by then, and
/// whether something keeps everything.
fn changed(part: &str, change: impl Fn(Vec<u8>) -> Vec<u8>) -> (Class, bool) {
    let scene = scene();
    let job = job_of(Vec::new());
    let (_, before) = scene.classes(&job);
    let blob = scene.truth.blobs.iter().find(|blob| blob.name.contains(part)).expect("a blob");
    let path = scene.root().join(record_of(blob));
    let text = std::fs::read(&path).expect("a record");
    std::fs::write(&path, change(text)).expect("a record");
    let (survey, after) = scene.classes(&job);
    let total: u64 = after.values().map(|amount| amount.bytes).sum();
    assert_eq!(total, on_disk(&scene.root()).bytes);
    let pinned = survey.inventory.pins_everything();
    let grown = |class: &Class| {
        let of = |classes: &BTreeMap<Class, Amount>| classes.get(class).copied().unwrap_or_default().objects;
        of(&after) > of(&before)
    };
    let class =
        Class::ALL.into_iter().filter(|class| *class != Class::Live).find(grown).unwrap_or(Class::Live);
    (class, pinned)
}

fn text(change: impl Fn(&str) -> String) -> impl Fn(Vec<u8>) -> Vec<u8> {
    move |bytes| change(std::str::from_utf8(&bytes).expect("ASCII")).into_bytes()
}

/// Puts `line` in the place of the line that begins with `key`.
fn line(key: &'static str, line: &'static str) -> impl Fn(Vec<u8>) -> Vec<u8> {
    text(move |record| {
        record.lines().map(|one| if one.starts_with(key) { line } else { one }).collect::<Vec<_>>().join("\n")
    })
}

#[test]
fn a_record_is_read_however_it_is_written() {
    let live = (Class::Live, false);
    assert_eq!(changed("/blobs/", text(|record| record.replace('\n', "\r\n"))), live);
    assert_eq!(changed("/blobs/", text(|record| record.replace("size=", "size : \\\n   "))), live);
    assert_eq!(changed("/blobs/", text(|record| record.replace("v2/", "\\u0076\\u0032/"))), live);
    assert_eq!(changed("/blobs/", text(|record| record.replacen("size=", "size=x\nsize=", 1))), live);
    assert_eq!(changed("/blobs/", |bytes| [&bytes[..], b"note=\xe9\n"].concat()), live);
    assert_eq!(changed("/blobs/", |bytes| [&bytes[..], "note=é\n".as_bytes()].concat()), live);
    assert_eq!(changed("/blobs/", text(|record| record.replace("=/v2", "=v2"))), live);
    assert_eq!(changed("/blobs/", line("sha1", "sha1=0000")), live);
    assert_eq!(changed("/blobs/", line("sha1", "")), live);
}

#[test]
fn what_nobody_can_open_is_damaged() {
    let damaged = (Class::Damaged, false);
    assert_eq!(changed("/blobs/", |_| Vec::new()), damaged);
    for (key, bad) in [
        ("size=", ""),
        ("size=", "size=abc"),
        ("size=", "size=-5"),
        ("size=", "size=1"),
        ("creationTime=", ""),
        ("creationTime=", "creationTime=soon"),
    ] {
        assert_eq!(changed("/blobs/", line(key, bad)), damaged, "{bad:?}");
        // What a manifest needs is not known when it cannot be told to be one as it was.
        assert_eq!(changed("/manifests/1.1", line(key, bad)), (Class::Damaged, true), "{bad:?}");
    }
    assert_eq!(changed("/blobs/", line("sha1", "sha1=\\u00")), damaged);
}

#[test]
fn the_key_alone_flags_a_blob() {
    for flag in ["deleted=true\n", "deleted=false\n", "deleted=\n"] {
        let flagged = changed("/blobs/", |bytes| [&bytes[..], flag.as_bytes()].concat());
        assert_eq!(flagged, (Class::Deleted, false), "{flag:?}");
    }
}

#[test]
fn names_that_are_none_are_of_another_format() {
    let other = (Class::OtherFormat, false);
    let name = |name: &'static str| line("@BlobStore.blob-name", name);
    for bad in [
        "@BlobStore.blob-name=/v2/-/blobs/sha256\\:abc",
        "@BlobStore.blob-name=/v2/../../etc/passwd",
        "@BlobStore.blob-name=//v2/-/blobs",
        "@BlobStore.blob-name=/v2/a b/tags",
        "@BlobStore.blob-name=",
        "",
    ] {
        assert_eq!(changed("/blobs/", name(bad)), other, "{bad:?}");
    }
    for hidden in
        ["@BlobStore.blob-name=/v2/a/manifests/md5\\:00", "@BlobStore.blob-name=/v2/../x/manifests/1"]
    {
        assert_eq!(changed("/manifests/1.1", name(hidden)), (Class::OtherFormat, true), "{hidden:?}");
    }
    // A manifest under another digest than its own.
    let digest = format!("@BlobStore.blob-name=/v2/team/app0/manifests/sha256\\:{}", "ab".repeat(32));
    let wrong = changed(
        "/manifests/1.1",
        text(|record| {
            let named = |one: &str| one.starts_with("@BlobStore.blob-name");
            record.lines().map(|one| if named(one) { &digest } else { one }).collect::<Vec<_>>().join("\n")
        }),
    );
    assert!(wrong.1, "{wrong:?}");
    assert_eq!(changed("/blobs/", line("@Bucket.repo-name", "@Bucket.repo-name=maven")), other);
}

#[test]
fn content_that_is_no_manifest_keeps_everything() {
    for body in [&b"{"[..], b"\x1f\x8b\x08", b"[]", b"", &vec![b' '; 5 << 20]] {
        let scene = scene();
        let blob = scene.truth.blobs.iter().find(|blob| blob.name.ends_with("/manifests/1.1")).expect("one");
        std::fs::write(scene.root().join(content_of(blob)), body).expect("content");
        let record = scene.root().join(record_of(blob));
        let text = std::fs::read_to_string(&record).expect("a record");
        let sized: Vec<String> = text
            .lines()
            .map(|one| if one.starts_with("size=") { format!("size={}", body.len()) } else { one.to_owned() })
            .collect();
        std::fs::write(&record, sized.join("\n")).expect("a record");
        let (survey, _) = scene.classes(&job_of(Vec::new()));
        assert!(survey.inventory.pins_everything(), "{:?}", &body[..body.len().min(4)]);
    }
}

#[test]
fn a_blob_that_is_there_twice_is_kept_twice() {
    let scene = scene();
    let blob = scene.truth.blobs.iter().find(|blob| blob.name.contains("/blobs/")).expect("one");
    for (key, suffix) in [(content_of(blob), "bytes"), (record_of(blob), "properties")] {
        let second = scene.root().join(format!("content/2025/01/02/03/04/{}.{suffix}", blob.id));
        std::fs::create_dir_all(second.parent().expect("a directory")).expect("a directory");
        std::fs::copy(scene.root().join(key), second).expect("a copy");
    }
    let (survey, classes) = scene.classes(&job_of(Vec::new()));
    assert_eq!(classes[&Class::Damaged].objects, 4);
    assert!(!survey.inventory.pins_everything());
}

#[test]
fn an_unreadable_directory_keeps_everything() {
    use std::os::unix::fs::PermissionsExt as _;
    let scene = scene();
    let hidden = scene.root().join("content/vol-01");
    std::fs::create_dir_all(&hidden).expect("a directory");
    let mode =
        |mode| std::fs::set_permissions(&hidden, std::fs::Permissions::from_mode(mode)).expect("a mode");
    mode(0o000);
    let readable = std::fs::read_dir(&hidden).is_ok();
    let (survey, _) = scene.classes(&job_of(Vec::new()));
    mode(0o755);
    // The superuser may read everything.
    assert_eq!(survey.inventory.pins_everything(), !readable);
}

#[test]
fn names_and_places_of_nobody_are_foreign() {
    let scene = scene();
    let (_, before) = scene.classes(&job_of(Vec::new()));
    let id = "9c847d7a-0f0d-4a72-bb0e-49ad697384df";
    let strangers = [
        format!("content/2025/13/40/00/00/{id}.bytes"),
        format!("content/vol-01/chap-01/{}.properties", id.to_uppercase()),
        format!("content/vol-44/chap-48/{id}.bytes"),
        "content/vol-01/chap-01/not-a-uuid.bytes".to_owned(),
        "content/loose".to_owned(),
    ];
    for key in &strangers {
        let path = scene.root().join(key);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        std::fs::write(path, b"x").expect("a file");
    }
    let (_, after) = scene.classes(&job_of(Vec::new()));
    assert_eq!(after[&Class::Foreign].objects - before[&Class::Foreign].objects, strangers.len() as u64);
    // A minute that is still to come is young, and nothing but young.
    let future = scene.root().join(format!("content/2199/01/01/00/00/{id}.bytes"));
    std::fs::create_dir_all(future.parent().expect("a directory")).expect("a directory");
    std::fs::write(future, b"x").expect("a file");
    assert_eq!(scene.classes(&job_of(Vec::new())).1[&Class::BytesOnly].objects, 1);
}
