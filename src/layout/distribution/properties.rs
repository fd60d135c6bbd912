//! What holds for every key, with names that a hostile or careless store may hold.

use proptest::prelude::*;

use super::*;

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const V4: &str = "f81d4fae-7dec-41d0-a765-00a0c91e6bf6";
const V7: &str = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";

fn classify(key: &str) -> Entry<'_> {
    Distribution.classify(key)
}

/// Components that a hostile or careless store may hold: mostly words of the layout itself.
fn component() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "_layers",
            "_manifests",
            "_uploads",
            "_x",
            "revisions",
            "tags",
            "current",
            "index",
            "link",
            "data",
            "startedat",
            "hashstates",
            "signatures",
            "sha256",
            "sha512",
            "tarsum",
            "v1",
            "e3",
            HEX,
            V4,
            V7,
            "0",
            "007",
            "",
            ".",
            "..",
            "blobs",
            "repositories",
            "docker",
            "registry",
            "v2",
            "link.tmp",
        ])
        .prop_map(str::to_owned),
        "[a-z0-9._-]{1,4}",
        "[A-Fa-f0-9]{62,66}",
        "\\PC{0,3}",
        Just(format!("link.{V7}.tmp")),
        Just(format!("data.{V7}.tmp")),
    ]
}

/// Keys as registries write them, with hostile names, and most of them then changed in one component.
fn key() -> impl Strategy<Value = String> {
    let name = prop::collection::vec(component(), 1..3);
    let below = prop::sample::select(vec![
        "_layers/sha256/HEX/link",
        "_layers/tarsum/v1/sha256/HEX/link",
        "_manifests/revisions/sha256/HEX/link",
        "_manifests/revisions/sha256/HEX/signatures/sha256/HEX/link",
        "_manifests/tags/current/current/link",
        "_manifests/tags/v1/index/sha256/HEX/link",
        "_uploads/UUID/data",
        "_uploads/UUID/startedat",
        "_uploads/UUID/hashstates/sha256/0",
        "_layers/sha256/HEX/link.UUID.tmp",
    ]);
    let in_repository = (name, below)
        .prop_map(|(name, below)| format!("docker/registry/v2/repositories/{}/{below}", name.join("/")));
    let other = prop::sample::select(vec![
        "docker/registry/v2/blobs/sha256/e3/HEX/data",
        "docker/registry/v2/blobs/sha256/e3/HEX/data.UUID.tmp",
        "docker/registry/v2/blobs/sha384/e3/HEX/data",
        "scheduler-state.json",
        ".regsweep/runs/1/plan",
    ])
    .prop_map(str::to_owned);
    let change = prop_oneof![2 => Just(None), 3 => (any::<prop::sample::Index>(), component(), 0..3_u8).prop_map(Some)];
    (prop_oneof![4 => in_repository, 1 => other], change).prop_map(|(key, change)| {
        let key = key.replace("HEX", HEX).replace("UUID", V7);
        let mut components: Vec<_> = key.split('/').collect();
        if let Some((place, word, how)) = &change {
            let place = place.index(components.len());
            match how {
                0 => components[place] = word,
                1 => components.insert(place, word),
                _ => drop(components.remove(place)),
            }
        }
        components.join("/")
    })
}

fn any_digest() -> impl Strategy<Value = Digest> {
    prop_oneof![
        any::<[u8; 32]>().prop_map(Digest::Sha256),
        prop::collection::vec(any::<u8>(), 64)
            .prop_map(|bytes| Digest::Sha512(bytes.try_into().expect("64 bytes were asked for"))),
    ]
}

/// One entry of every kind from hostile parts. Most will have no key, those that have one must read back.
fn entries<'k>(
    name: &'k str,
    word: &'k str,
    digest: Digest,
    signature: Digest,
    offset: u64,
) -> Vec<Entry<'k>> {
    let (repository, tag, upload) = (name, word, word);
    let part = |upload, part| Entry::UploadPart { repository, upload, part };
    vec![
        Entry::BlobData { digest },
        Entry::RevisionLink { repository, digest },
        Entry::RevisionSignature { repository, digest, signature },
        Entry::TagCurrent { repository, tag },
        Entry::TagHistory { repository, tag, digest },
        Entry::LayerLink { repository, digest },
        part(upload, UploadPart::Data),
        part(V4, UploadPart::StartedAt),
        part(V7, UploadPart::HashState { algorithm: word, offset }),
        Entry::Temporary { of: name, uuid: V7 },
    ]
}

fn is_word(word: &str) -> bool {
    is_plain(word) && !word.contains('/')
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_has_a_key_reads_back(
        name in prop::collection::vec(component(), 0..4),
        word in component(),
        digest in any_digest(),
        signature in any_digest(),
        offset: u64,
    ) {
        let good_name = name.iter().all(|part| is_word(part) && !part.starts_with('_')) && !name.is_empty();
        let name = name.join("/");
        for entry in entries(&name, &word, digest, signature, offset) {
            let key = Distribution.key(&entry);
            if let Some(key) = &key {
                prop_assert_eq!(classify(key), entry);
            }
            let must = match entry {
                Entry::TagCurrent { .. } | Entry::TagHistory { .. } => good_name && is_word(&word),
                Entry::UploadPart { upload, part: UploadPart::HashState { .. }, .. } => {
                    good_name && is_uuid(upload) && is_word(&word)
                }
                Entry::UploadPart { upload, .. } => good_name && is_uuid(upload),
                Entry::Temporary { .. } => false,
                Entry::BlobData { .. } => true,
                _ => good_name,
            };
            prop_assert!(key.is_some() || !must, "{:?} has no key", entry);
        }
    }

    #[test]
    fn what_is_understood_is_written_the_same(key in key()) {
        let entry = classify(&key);
        match entry {
            Entry::Foreign(_) | Entry::UnknownDigest { .. } | Entry::OwnState | Entry::FolderMarker => {
                prop_assert_eq!(Distribution.key(&entry), None);
            }
            _ => prop_assert_eq!(Distribution.key(&entry), Some(key)),
        }
    }

    #[test]
    fn directories_are_written_the_same(key in key()) {
        let directory = Distribution.classify_directory(&key);
        if let Some(written) = Distribution.directory_key(&directory) {
            prop_assert_eq!(written, key);
        }
    }

    /// A reader that opens only what `classify_directory` calls open or known must meet every file that matters.
    #[test]
    fn no_file_that_is_understood_stands_in_a_foreign_directory(key in key()) {
        let entry = classify(&key);
        let understood = !matches!(entry, Entry::Foreign(_) | Entry::FolderMarker);
        for (slash, _) in key.match_indices('/').filter(|_| understood) {
            let directory = Distribution.classify_directory(&key[..slash]);
            prop_assert!(!matches!(directory, Directory::Foreign(_)), "{} is {:?}", &key[..slash], directory);
        }
    }

    #[test]
    fn any_text_is_classified(key in ".*") {
        let _ = (classify(&key), Distribution.classify_directory(&key), upload_started(&key));
    }
}
