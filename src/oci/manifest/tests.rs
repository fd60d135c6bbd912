//! One manifest of every kind, broken ones, and properties.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

macro_rules! sample {
    ($name:literal) => {
        read(include_bytes!(concat!("../../../testdata/manifests/", $name, ".json"))).expect($name)
    };
}

fn of(label: &str) -> Digest {
    Digest::of(label.as_bytes())
}

/// The roles of the references, and that nothing is in doubt.
fn roles(manifest: &Manifest) -> Vec<Role> {
    assert!(manifest.unresolved.is_empty(), "{:?}", manifest.unresolved);
    manifest.references().iter().map(|reference| reference.role).collect()
}

fn digests(manifest: &Manifest) -> Vec<Digest> {
    manifest.references().iter().map(|reference| reference.digest).collect()
}

#[test]
fn images() {
    let docker = sample!("docker-schema2");
    assert_eq!(docker.kind, Kind::Image);
    assert_eq!(roles(&docker), [Role::Config, Role::Layer, Role::Layer, Role::Layer, Role::Layer]);
    assert_eq!(docker.references[1].digest, of("layer 0"));
    assert_eq!(docker.references[1].size, Some(29_126_484));
    assert_eq!(docker.media_type.as_deref(), Some("application/vnd.docker.distribution.manifest.v2+json"));
    assert!(docker.notes.is_empty() && docker.subject().is_none());

    let oci = sample!("oci-image");
    assert_eq!((oci.kind, roles(&oci)), (Kind::Image, vec![Role::Config, Role::Layer, Role::Layer]));
    let unnamed = sample!("oci-image-without-media-type");
    assert_eq!((unnamed.kind, unnamed.references), (Kind::Image, oci.references));
    assert_eq!(unnamed.media_type, None);

    let long = sample!("oci-image-sha512");
    assert!(roles(&long).len() == 2 && digests(&long).iter().all(|digest| digest.algorithm() == "sha512"));
    let helm = sample!("helm-chart");
    assert_eq!((helm.kind, roles(&helm)), (Kind::Image, vec![Role::Config, Role::Layer, Role::Layer]));
}

#[test]
fn schema_1_with_and_without_signatures() {
    for manifest in [sample!("docker-schema1"), sample!("docker-schema1-signed")] {
        assert_eq!(manifest.kind, Kind::Schema1);
        assert_eq!(roles(&manifest), [Role::Layer, Role::Layer]);
        assert_eq!(manifest.references[1].digest, of("layer 0"));
    }
}

#[test]
fn indexes_and_their_platforms() {
    let list = sample!("docker-manifest-list");
    assert_eq!((list.kind, roles(&list)), (Kind::Index, vec![Role::Manifest; 3]));
    let platforms: Vec<_> = list.references.iter().map(|entry| entry.platform.as_deref().unwrap()).collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm64/v8", "windows/amd64"]);
    let index = sample!("oci-index");
    assert_eq!((index.kind, roles(&index)), (Kind::Index, vec![Role::Manifest; 3]));
    let nested = sample!("oci-index-nested");
    assert_eq!((nested.kind, roles(&nested)), (Kind::Index, vec![Role::Manifest; 3]));
    let empty = read(br#"{"schemaVersion":2,"manifests":[]}"#).unwrap();
    assert_eq!((empty.kind, empty.references.len()), (Kind::Index, 0));
}

#[test]
fn a_cache_index_lists_layers() {
    let cache = sample!("buildkit-cache-index");
    assert_eq!((cache.kind, roles(&cache)), (Kind::Index, vec![Role::Blob; 3]));
}

#[test]
fn artifacts_and_referrers_name_their_subject() {
    let artifact = sample!("oci-artifact");
    assert_eq!((artifact.kind, roles(&artifact)), (Kind::Artifact, vec![Role::Blob]));
    assert_eq!(artifact.artifact_type.as_deref(), Some("application/vnd.example.sbom.v1"));
    let referrer = sample!("oci-referrer");
    assert_eq!((referrer.kind, roles(&referrer)), (Kind::Image, vec![Role::Config, Role::Layer]));
    for manifest in [artifact, referrer] {
        let subject = manifest.subject().expect("a subject");
        assert_eq!((subject.digest, subject.role), (of("manifest"), Role::Manifest));
        assert!(!digests(&manifest).contains(&subject.digest), "a signature does not keep the image");
    }
}

#[test]
fn foreign_layers_are_marked() {
    let windows = sample!("docker-foreign-layers");
    let foreign: Vec<_> = windows.references.iter().map(|reference| reference.foreign).collect();
    assert_eq!(foreign, [false, true, false]);
}

#[test]
fn an_unknown_algorithm_is_unresolved() {
    let manifest = sample!("unknown-algorithm");
    assert_eq!(digests(&manifest), [of("config"), of("layer 0")]);
    assert!(manifest.unresolved.len() == 1 && manifest.unresolved[0].starts_with("blake3:"));
}

#[test]
fn an_unknown_type_refers_to_every_digest_in_it() {
    let manifest = sample!("unknown-type");
    assert_eq!(manifest.kind, Kind::Opaque);
    assert_eq!(roles(&manifest), [Role::Unknown; 4]);
    for part in ["part 0", "part 1", "part 2", "part 3"] {
        assert!(digests(&manifest).contains(&of(part)), "{part}");
    }
}

#[test]
fn an_unknown_field_may_refer_too() {
    let manifest = sample!("unknown-field");
    assert_eq!(manifest.kind, Kind::Image);
    assert_eq!(roles(&manifest), [Role::Config, Role::Layer, Role::Unknown]);
    assert_eq!(manifest.references[2].digest, of("attachment"));
    assert_eq!(manifest.notes.len(), 1);
    let oci = sample!("oci-image");
    assert!(!digests(&oci).contains(&of("base, no reference")), "annotations refer to nothing");
}

#[test]
fn field_names_in_another_case_refer_as_well() {
    let (config, layer) = (of("config"), of("layer"));
    let text = format!(r#"{{"Config":{{"digest":"{config}"}},"layers":[{{"Digest":"{layer}"}}]}}"#);
    let manifest = read(text.as_bytes()).unwrap();
    assert_eq!(manifest.references.len(), 2);
    assert!(roles(&manifest).iter().all(|role| *role == Role::Unknown));
}

#[test]
fn a_field_that_is_there_twice_counts_twice() {
    let (first, second) = (of("first"), of("second"));
    let text = format!(
        r#"{{"layers":[{{"digest":"{first}"}}],"layers":[{{"digest":"{second}","digest":"{first}"}}],"config":null}}"#
    );
    assert_eq!(digests(&read(text.as_bytes()).unwrap()), [first, second]);
    let types = r#"{"mediaType":"application/vnd.oci.image.manifest.v1+json","mediaType":"x","layers":[]}"#;
    assert_eq!(read(types.as_bytes()).unwrap().kind, Kind::Opaque);
}

#[test]
fn a_shape_that_readers_disagree_about_is_opaque() {
    let (layer, child) = (of("layer"), of("child"));
    for media_type in
        ["", "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"]
    {
        let text = format!(
            r#"{{"mediaType":"{media_type}","layers":[{{"digest":"{layer}"}}],"manifests":[{{"digest":"{child}"}}]}}"#
        );
        let manifest = read(text.as_bytes()).unwrap();
        assert_eq!((manifest.kind, digests(&manifest)), (Kind::Opaque, vec![layer, child]));
    }
    assert_eq!(read(b"{}").unwrap().kind, Kind::Opaque);
    assert_eq!(read(br#"{"mediaType":1,"layers":[]}"#).unwrap().kind, Kind::Opaque);
}

#[test]
fn broken_descriptors_leave_a_doubt() {
    let upper = of("x").to_string().to_uppercase().replace("SHA256", "sha256");
    let cut = &of("x").to_string()[..70];
    for descriptor in [
        "{}".to_owned(),
        "null".to_owned(),
        "1".to_owned(),
        r#"{"digest":1}"#.to_owned(),
        r#"{"digest":""}"#.to_owned(),
        r#"{"digest":["x"]}"#.to_owned(),
        format!(r#"{{"digest":"{upper}"}}"#),
        format!(r#"{{"digest":"{cut}"}}"#),
        format!(r#"{{"digest":" {}"}}"#, of("x")),
        format!(r#""{cut}""#),
    ] {
        let manifest = read(format!(r#"{{"layers":[{descriptor}]}}"#).as_bytes()).unwrap();
        assert_eq!(manifest.kind, Kind::Image);
        assert!(!manifest.unresolved.is_empty(), "{descriptor}");
    }
    let bare = format!(r#"{{"layers":["{}"],"config":{{"digest":"{}","size":-1}}}}"#, of("x"), of("y"));
    let manifest = read(bare.as_bytes()).unwrap();
    assert_eq!(digests(&manifest), [of("x"), of("y")]);
    assert_eq!(manifest.references[1].size, None);
}

#[test]
fn one_digest_is_one_reference() {
    let both = of("both");
    let text = format!(
        r#"{{"config":{{"digest":"{both}"}},"layers":[{{"digest":"{both}","size":3,"urls":["x"]}},
            {{"digest":"{both}","mediaType":"application/vnd.oci.image.manifest.v1+json"}}]}}"#
    );
    let manifest = read(text.as_bytes()).unwrap();
    let expected =
        Reference { digest: both, size: Some(3), role: Role::Unknown, foreign: false, platform: None };
    assert_eq!(manifest.references, [expected]);
}

#[test]
fn long_lists_keep_order_and_lose_duplicates() {
    let mut text = r#"{"layers":["#.to_owned();
    for layer in (0..500).chain(0..500) {
        let comma = if text.ends_with('[') { "" } else { "," };
        write!(text, r#"{comma}{{"digest":"{}"}}"#, of(&layer.to_string())).unwrap();
    }
    text += "]}";
    let expected: Vec<_> = (0..500).map(|layer| of(&layer.to_string())).collect();
    assert_eq!(digests(&read(text.as_bytes()).unwrap()), expected);
}

#[test]
fn bare_digits_and_foreign_digests_in_an_opaque_document() {
    let hex = of("bare").hex();
    let md5 = "md5:d41d8cd98f00b204e9800998ecf8427e";
    let long = format!("{}0", of("long"));
    let text = format!(r#"{{"a":"{hex}","b":"x@{md5}","c":"{long}","d":"a:{}"}}"#, "x".repeat(40));
    let manifest = read(text.as_bytes()).unwrap();
    assert_eq!(digests(&manifest), [of("bare"), of("long")]);
    assert_eq!(manifest.unresolved, [md5, &long]);
}

#[test]
fn what_is_no_manifest_says_what_it_is() {
    assert!(matches!(read(b""), Err(ManifestError::Empty)));
    assert!(matches!(read(&[0x1f, 0x8b, 8, 0]), Err(ManifestError::Compressed("gzip"))));
    assert!(matches!(read(&[0x28, 0xb5, 0x2f, 0xfd, 0]), Err(ManifestError::Compressed("zstd"))));
    assert!(matches!(read(b"\x7fELF"), Err(ManifestError::Json(_))));
    assert!(matches!(read(b"{} {}"), Err(ManifestError::Json(_))));
    assert!(matches!(read(b"{\"a\":\"\xff\"}"), Err(ManifestError::Json(_))));
    for text in ["[]", "1", "null", "\"sha256:\""] {
        assert!(matches!(read(text.as_bytes()), Err(ManifestError::NotAnObject)), "{text}");
    }
    let whole = include_bytes!("../../../testdata/manifests/oci-image.json");
    for length in 1..whole.len() {
        assert!(matches!(read(&whole[..length]), Err(ManifestError::Truncated(_))), "{length} bytes");
    }
    let size = MAX_MANIFEST_BYTES + 1;
    assert!(matches!(read(&vec![b' '; size]), Err(ManifestError::TooLarge { size: found }) if found == size));
}

#[test]
fn hostile_documents_stay_within_bounds() {
    let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    assert!(matches!(read(deep.as_bytes()), Err(ManifestError::Json(_))));
    let endless = "[".repeat(MAX_MANIFEST_BYTES - 5);
    assert!(read(format!(r#"{{"x":{}"#, &endless[..endless.len() - 5]).as_bytes()).is_err());
    let empty = format!(r#"{{"layers":[{}0]}}"#, "0,".repeat(1_000_000));
    let manifest = read(empty.as_bytes()).unwrap();
    assert_eq!((manifest.references.len(), manifest.unresolved.len()), (0, 1));
    let bad: Vec<_> =
        (0..1000).map(|number| format!(r#"{{"digest":"{number}{}"}}"#, "é".repeat(999))).collect();
    let manifest = read(format!(r#"{{"layers":[{}]}}"#, bad.join(",")).as_bytes()).unwrap();
    assert_eq!(manifest.unresolved.len(), MAX_REMARKS);
    assert!(manifest.unresolved.iter().all(|remark| remark.chars().count() <= 200));
}

fn any_digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::Sha256)
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let _ = read(&bytes);
    }

    #[test]
    fn any_json_like_text_is_read_or_refused(text in r#"\{("(layers|config|digest|mediaType|subject)":|[\[\]{},:"]|null|1e9|"sha256:[0-9a-f]{64}"){0,20}\}"#) {
        let _ = read(text.as_bytes());
    }

    #[test]
    fn an_image_yields_its_references_in_any_order_of_fields(
        layers in prop::collection::btree_map(any_digest(), any::<u64>(), 0..60),
        config in any_digest(),
        subject in prop::option::of(any_digest()),
        rotation in 0_usize..5,
        media_type in prop::sample::select(vec!["", "application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"]),
    ) {
        prop_assume!(!layers.contains_key(&config));
        let list: Vec<_> = layers.iter().map(|(digest, size)| format!(r#"{{"size":{size},"digest":"{digest}"}}"#)).collect();
        let mut fields = [
            format!(r#""mediaType":"{media_type}""#),
            format!(r#""config":{{"digest":"{config}","size":2}}"#),
            format!(r#""layers":[{}]"#, list.join(",")),
            r#""schemaVersion":2"#.to_owned(),
            subject.map_or(r#""subject":null"#.to_owned(), |subject| format!(r#""subject":{{"digest":"{subject}"}}"#)),
        ];
        fields.rotate_left(rotation);
        let manifest = read(format!("{{{}}}", fields.join(",")).as_bytes()).unwrap();
        prop_assert_eq!(manifest.kind, Kind::Image);
        prop_assert_eq!(manifest.subject().map(|subject| subject.digest), subject);
        prop_assert!(manifest.unresolved.is_empty() && manifest.notes.is_empty());
        let config_found = manifest.references.iter().find(|reference| reference.role == Role::Config);
        prop_assert_eq!(config_found.map(|reference| reference.digest), Some(config));
        let layers_found: Vec<_> = manifest.references.iter().filter(|reference| reference.role == Role::Layer)
            .map(|reference| (reference.digest, reference.size)).collect();
        let expected: Vec<_> = layers.into_iter().map(|(digest, size)| (digest, Some(size))).collect();
        prop_assert_eq!(layers_found, expected);
    }

    /// Whatever surrounds it: a digest in an opaque document is a reference.
    #[test]
    fn an_opaque_document_hides_no_digest(digest in any_digest(), before in "[^\"\\\\0-9a-f\\x00-\\x1f]{0,9}", after in "[^\"\\\\0-9a-f\\x00-\\x1f]{0,9}", as_key: bool) {
        let text = format!("{before}{digest}{after}");
        let document = if as_key { format!(r#"{{"x":[{{"{text}":1}}]}}"#) } else { format!(r#"{{"x":[["{text}"]]}}"#) };
        let manifest = read(document.as_bytes()).unwrap();
        prop_assert_eq!(manifest.kind, Kind::Opaque);
        prop_assert_eq!(digests(&manifest), vec![digest]);
    }
}
