//! Keys as registries write them, and keys that look like them.

use super::*;
use crate::layout::{DigestPlace, ForeignReason};

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const V4: &str = "f81d4fae-7dec-41d0-a765-00a0c91e6bf6";
const V7: &str = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";

fn digest() -> Digest {
    Digest::of(b"")
}

fn classify(key: &str) -> Entry<'_> {
    Distribution.classify(key)
}

fn foreign(key: &str) -> ForeignReason {
    match classify(key) {
        Entry::Foreign(reason) => reason,
        entry => panic!("{key} is {entry:?}"),
    }
}

fn in_repository(path: &str) -> String {
    format!("docker/registry/v2/repositories/{path}")
}

#[test]
fn every_kind_of_key() {
    let digest = digest();
    let repository = "team/app";
    let upload = V4;
    for (path, entry) in [
        (format!("_layers/sha256/{HEX}/link"), Entry::LayerLink { repository, digest }),
        (format!("_manifests/revisions/sha256/{HEX}/link"), Entry::RevisionLink { repository, digest }),
        (
            format!("_manifests/revisions/sha256/{HEX}/signatures/sha256/{HEX}/link"),
            Entry::RevisionSignature { repository, digest, signature: digest },
        ),
        ("_manifests/tags/v1/current/link".into(), Entry::TagCurrent { repository, tag: "v1" }),
        (
            format!("_manifests/tags/v1/index/sha256/{HEX}/link"),
            Entry::TagHistory { repository, tag: "v1", digest },
        ),
        (format!("_uploads/{V4}/data"), Entry::UploadPart { repository, upload, part: UploadPart::Data }),
        (
            format!("_uploads/{V4}/startedat"),
            Entry::UploadPart { repository, upload, part: UploadPart::StartedAt },
        ),
        (
            format!("_uploads/{V4}/hashstates/sha256/10485760"),
            Entry::UploadPart {
                repository,
                upload,
                part: UploadPart::HashState { algorithm: "sha256", offset: 10_485_760 },
            },
        ),
    ] {
        let key = in_repository(&format!("team/app/{path}"));
        assert_eq!(classify(&key), entry);
        assert_eq!(Distribution.key(&entry), Some(key));
    }
    let blob = format!("docker/registry/v2/blobs/sha256/e3/{HEX}/data");
    assert_eq!(classify(&blob), Entry::BlobData { digest });
    assert_eq!(classify("scheduler-state.json"), Entry::SchedulerState);
    assert_eq!(classify(".regsweep/lease"), Entry::OwnState);
    assert_eq!(classify("docker/registry/v2/blobs/"), Entry::FolderMarker);
}

#[test]
fn temporaries_stand_beside_what_the_registry_writes() {
    let link = in_repository("a/_manifests/tags/v1/current/link");
    let key = format!("{link}.{V7}.tmp");
    assert_eq!(classify(&key), Entry::Temporary { of: &link, uuid: V7 });
    let blob = format!("docker/registry/v2/blobs/sha256/e3/{HEX}/data");
    let key = format!("{blob}.{V7}.tmp");
    assert_eq!(classify(&key), Entry::Temporary { of: &blob, uuid: V7 });
    assert_eq!(Distribution.key(&classify(&key)), Some(key));
    assert_eq!(foreign(&format!("{blob}.trash")), ForeignReason::ShadowsBlob);
    assert_eq!(foreign(&format!("{blob}.{V7}.tmp.tmp")), ForeignReason::ShadowsBlob);
    assert_eq!(foreign(&format!("{blob}.{V7}.{V7}.tmp")), ForeignReason::ShadowsBlob);
    assert_eq!(foreign(&in_repository(&format!("a/other.{V7}.tmp"))), ForeignReason::NoRepository);
}

#[test]
fn names_that_look_like_the_layouts_own() {
    for repository in
        ["blobs", "link", "data", "sha256", "tags/index", "docker/registry/v2/blobs", "A b/ü", "a./.b"]
    {
        let link = in_repository(&format!("{repository}/_layers/sha256/{HEX}/link"));
        assert_eq!(classify(&link), Entry::LayerLink { repository, digest: digest() });
    }
    for tag in ["current", "index", "link", "_layers", "_uploads", "sha256", "v1", "v1-alpine", "..."] {
        let current = in_repository(&format!("a/_manifests/tags/{tag}/current/link"));
        assert_eq!(classify(&current), Entry::TagCurrent { repository: "a", tag });
        let index = in_repository(&format!("a/_manifests/tags/{tag}/index/sha256/{HEX}/link"));
        assert_eq!(classify(&index), Entry::TagHistory { repository: "a", tag, digest: digest() });
        let directory = self::tag("a", tag);
        assert_eq!(Distribution.classify_directory(&directory), Directory::Tag { repository: "a", tag });
    }
    assert_eq!(
        foreign(&in_repository(&format!("a/_trash/b/_layers/sha256/{HEX}/link"))),
        ForeignReason::ReservedName
    );
    assert_eq!(
        foreign(&in_repository(&format!("a/_layers/_layers/sha256/{HEX}/lin"))),
        ForeignReason::Unexpected
    );
    assert_eq!(foreign(&in_repository(&format!("_layers/sha256/{HEX}/link"))), ForeignReason::NoRepository);
    assert_eq!(foreign(&in_repository("a/b/readme")), ForeignReason::NoRepository);
}

#[test]
fn keys_outside_the_grammar_say_why() {
    let layer = |hex: &str| in_repository(&format!("a/_layers/sha256/{hex}/link"));
    assert_eq!(foreign(&layer(&HEX[1..])), ForeignReason::MalformedDigest);
    assert_eq!(foreign(&layer(&format!("{HEX}0"))), ForeignReason::MalformedDigest);
    assert_eq!(foreign(&layer(&HEX.to_uppercase())), ForeignReason::MalformedDigest);
    assert_eq!(foreign(&format!("docker/registry/v2/blobs/sha256/e4/{HEX}/data")), ForeignReason::WrongShard);
    assert_eq!(
        foreign(&format!("docker/registry/v2/blobs/sha256/e3/{HEX}/data/x")),
        ForeignReason::ShadowsBlob
    );
    for key in ["", "/docker", "docker//registry", "a/../b", ".regsweep/../docker/registry/v2/blobs/x"] {
        assert_eq!(foreign(key), ForeignReason::Malformed, "{key}");
    }
    for path in ["a//b/_layers", "./_layers", "a/../_layers", "/a/_layers", "/_layers"] {
        let key = in_repository(&format!("{path}/sha256/{HEX}/link"));
        assert_eq!(foreign(&key), ForeignReason::Malformed, "{key}");
    }
    assert_eq!(foreign(&in_repository("a/_manifests/tags/../current/link")), ForeignReason::Malformed);
    assert_eq!(foreign(&in_repository("a/_manifests/tags/v1/current/link2")), ForeignReason::Unexpected);
    assert_eq!(foreign(&in_repository("a/_uploads/1/data")), ForeignReason::UploadName);
    for offset in ["007", "+1", "-1", "", "18446744073709551616", "1/2"] {
        let key = in_repository(&format!("a/_uploads/{V4}/hashstates/sha256/{offset}"));
        assert!(matches!(classify(&key), Entry::Foreign(_) | Entry::FolderMarker), "{key}");
    }
    assert_eq!(foreign("docker/registry/v2/_trash/x"), ForeignReason::Unexpected);
    assert_eq!(foreign("docker/registry/v3/x"), ForeignReason::OutsideRegistry);
    assert_eq!(foreign(".regsweeper"), ForeignReason::OutsideRegistry);
    assert_eq!(foreign("x/scheduler-state.json"), ForeignReason::OutsideRegistry);
}

#[test]
fn digests_of_unknown_algorithms_are_not_foreign() {
    let tarsum = format!("tarsum/v1/sha256/{HEX}");
    let unknown = |kind| Entry::UnknownDigest { repository: Some("a"), kind, digest: &tarsum };
    for (path, kind) in [
        ("_layers", DigestPlace::LayerLink),
        ("_manifests/revisions", DigestPlace::Revision),
        ("_manifests/tags/v1/index", DigestPlace::TagHistory),
    ] {
        let directory = in_repository(&format!("a/{path}/{tarsum}"));
        assert_eq!(classify(&format!("{directory}/link")), unknown(kind));
        let place = Directory::UnknownDigest { repository: Some("a"), kind };
        assert_eq!(Distribution.classify_directory(&directory), place);
    }
    let blob = format!("docker/registry/v2/blobs/sha384/e3/{HEX}/data");
    assert!(matches!(
        classify(&blob),
        Entry::UnknownDigest { repository: None, kind: DigestPlace::Blob, .. }
    ));
    assert_eq!(foreign(&in_repository("a/_layers/sha384/link")), ForeignReason::Unexpected);
    assert_eq!(foreign(&in_repository("a/_layers/sha384//x/link")), ForeignReason::Malformed);
}

#[test]
fn a_registry_within_a_registry_is_only_names() {
    let inner = format!("docker/registry/v2/repositories/docker/registry/v2/blobs/sha256/e3/{HEX}/data");
    assert_eq!(foreign(&inner), ForeignReason::NoRepository);
    assert_eq!(Distribution.classify_directory(&inner), Directory::Open);
}

fn at(path: &str) -> Directory<'_> {
    Distribution.classify_directory(path)
}

#[test]
fn directories_by_name() {
    let digest = digest();
    let open = |path: &str| assert_eq!(Distribution.classify_directory(path), Directory::Open, "{path}");
    for path in ["", "docker", "docker/registry", "docker/registry/v2", blobs_root(), repositories_root()] {
        open(path);
    }
    for path in ["blobs/sha256", "blobs/sha256/e3", "repositories/a", "repositories/a/link"] {
        open(&format!("docker/registry/v2/{path}"));
    }
    for part in [Part::Layers, Part::Manifests, Part::Revisions, Part::Tags, Part::Uploads] {
        open(&repository_part("a/b", part));
    }
    open(&in_repository("a/_layers/sha512"));
    open(&in_repository(&format!("a/_manifests/tags/v1/index/sha256/{HEX}")));
    open(&in_repository(&format!("a/_uploads/{V4}/hashstates/sha256")));
    for directory in [
        Directory::Blob { digest },
        Directory::Revision { repository: "a", digest },
        Directory::Tag { repository: "a", tag: "v1" },
        Directory::LayerLink { repository: "a", digest },
        Directory::Upload { repository: "a", upload: V7 },
    ] {
        let key = Distribution.directory_key(&directory).expect("a directory of its own");
        assert_eq!(Distribution.classify_directory(&key), directory);
        let below = format!("{key}/deeper");
        assert!(matches!(
            Distribution.classify_directory(&below),
            Directory::Foreign(ForeignReason::Unexpected)
        ));
    }
    assert_eq!(at(".regsweep"), Directory::OwnState);
    assert_eq!(at("docker/registry/v2/blobs/sha256/e"), Directory::Foreign(ForeignReason::WrongShard));
    assert_eq!(at("docker/"), Directory::Foreign(ForeignReason::Malformed));
    assert_eq!(at("lost+found"), Directory::Foreign(ForeignReason::OutsideRegistry));
    let bad = in_repository("a/_layers/sha256/0123");
    let kind = DigestPlace::LayerLink;
    assert_eq!(at(&bad), Directory::UnknownDigest { repository: Some("a"), kind });
}

#[test]
fn names_that_would_build_another_key_have_none() {
    let digest = digest();
    for repository in ["", "a/_layers", "_a", "a//b", "..", "a/"] {
        assert_eq!(Distribution.key(&Entry::LayerLink { repository, digest }), None, "{repository}");
        assert_eq!(
            Distribution.directory_key(&Directory::LayerLink { repository, digest }),
            None,
            "{repository}"
        );
    }
    for tag in ["", "..", "a/b", "v1/current"] {
        assert_eq!(Distribution.key(&Entry::TagCurrent { repository: "a", tag }), None, "{tag}");
        assert_eq!(Distribution.directory_key(&Directory::Tag { repository: "a", tag }), None, "{tag}");
    }
}

#[test]
fn uploads_of_version_7_tell_their_start() {
    let started = upload_started(V7).expect("version 7");
    assert_eq!(started.to_string(), "2022-02-22T19:22:22Z");
    assert_eq!(upload_started(V4), None);
    assert_eq!(upload_started("017f22e2-79b0-7cc3-c8c4-dc0c0c07398f"), None);
    assert_eq!(upload_started("ffffffff-ffff-7cc3-98c4-dc0c0c07398f"), None);
    assert_eq!(upload_started(""), None);
}
