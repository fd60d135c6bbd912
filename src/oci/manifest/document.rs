//! The document as a whole: its fields, and what kind of manifest they make.

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::error::Category;

use super::collect::{Findings, Remarks, Scan};
use super::descriptor::{Collector, Place, ReadMany, ReadOne};
use super::json::{Any, ReadText, ReadWith, Text};
use super::{Kind, MAX_MANIFEST_BYTES, Manifest, ManifestError, Role};
use crate::oci::media_type::Class;

/// The first bytes of what is sometimes found in a manifest's place.
const COMPRESSED: [(&[u8], &str); 2] = [(&[0x1f, 0x8b], "gzip"), (&[0x28, 0xb5, 0x2f, 0xfd], "zstd")];

pub(super) fn read(bytes: &[u8]) -> Result<Manifest, ManifestError> {
    if bytes.is_empty() {
        return Err(ManifestError::Empty);
    }
    if bytes.len() > MAX_MANIFEST_BYTES {
        return Err(ManifestError::TooLarge { size: bytes.len() });
    }
    if let Some((_, name)) = COMPRESSED.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Err(ManifestError::Compressed(name));
    }
    let mut document = Document::default();
    parse(bytes, |json| json.deserialize_map(TopLevel(&mut document)))?;
    let kind = document.kind();
    let everything = if kind == Kind::Opaque {
        let mut everything = Findings::default();
        parse(bytes, |json| json.deserialize_any(Any(Scan(&mut everything))))?;
        Some(everything)
    } else {
        None
    };
    Ok(document.into_manifest(kind, everything))
}

fn parse<'b>(
    bytes: &'b [u8],
    visit: impl FnOnce(&mut serde_json::Deserializer<serde_json::de::SliceRead<'b>>) -> serde_json::Result<()>,
) -> Result<(), ManifestError> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    visit(&mut json).and_then(|()| json.end()).map_err(|error| match error.classify() {
        Category::Eof => ManifestError::Truncated(error),
        // Every value below the top is taken as it is, so that only the top can be of the wrong type.
        Category::Data => ManifestError::NotAnObject,
        Category::Syntax | Category::Io => ManifestError::Json(error),
    })
}

/// What the document's own `mediaType` or `artifactType` says.
#[derive(Debug, Default, PartialEq, Eq)]
enum Declared {
    #[default]
    Absent,
    As(String),
    /// It is no text, or the field is there twice and the two differ.
    Ambiguous,
}

impl Declared {
    fn take(&mut self, text: Text) {
        let next = match text {
            Text::Null => return,
            Text::Found(text) => Self::As(text),
            Text::Other => Self::Ambiguous,
        };
        *self = if *self == Self::Absent || *self == next { next } else { Self::Ambiguous };
    }

    fn into_text(self) -> Option<String> {
        match self {
            Self::As(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }
}

/// Which fields hold something, be it an empty list.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one field of the document, independent of the others"
)]
struct Present {
    config: bool,
    layers: bool,
    manifests: bool,
    blobs: bool,
    fs_layers: bool,
}

#[derive(Debug, Default)]
struct Document {
    media_type: Declared,
    artifact_type: Declared,
    present: Present,
    collector: Collector,
    /// What stands in top-level fields that no kind of manifest has.
    unknown: Findings,
    /// What stands in fields that only schema 1 has, where they refer to nothing.
    schema1_only: Findings,
    notes: Remarks,
}

enum Field {
    MediaType,
    ArtifactType,
    Config,
    Layers,
    Manifests,
    Blobs,
    FsLayers,
    Subject,
    Inert,
    Schema1Only,
    Unknown,
}

impl Field {
    fn of(name: &str, document: &mut Document) -> Self {
        match name {
            "mediaType" => Self::MediaType,
            "artifactType" => Self::ArtifactType,
            "config" => Self::Config,
            "layers" => Self::Layers,
            "manifests" => Self::Manifests,
            "blobs" => Self::Blobs,
            "fsLayers" => Self::FsLayers,
            "subject" => Self::Subject,
            "schemaVersion" | "annotations" => Self::Inert,
            "history" | "signatures" | "name" | "tag" | "architecture" => Self::Schema1Only,
            _ => {
                document.unknown.scan(name);
                document.notes.push(&format!("the field `{name}` is not known"));
                Self::Unknown
            }
        }
    }
}

struct TopLevel<'d>(&'d mut Document);

impl<'de> Visitor<'de> for TopLevel<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a manifest")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let document = self.0;
        while let Some(field) = object.next_key_seed(Any(ReadWith(|name: &str| Field::of(name, document))))? {
            let Document { present, collector, .. } = document;
            match field.unwrap_or(Field::Unknown) {
                Field::MediaType => document.media_type.take(object.next_value_seed(Any(ReadText))?),
                Field::ArtifactType => document.artifact_type.take(object.next_value_seed(Any(ReadText))?),
                Field::Config => {
                    present.config |= object.next_value_seed(Any(ReadOne(Place::Config, collector)))?;
                }
                Field::Layers => {
                    present.layers |= object.next_value_seed(Any(ReadMany(Place::Layers, collector)))?;
                }
                Field::Manifests => {
                    present.manifests |=
                        object.next_value_seed(Any(ReadMany(Place::Manifests, collector)))?;
                }
                Field::Blobs => {
                    present.blobs |= object.next_value_seed(Any(ReadMany(Place::Blobs, collector)))?;
                }
                Field::FsLayers => {
                    present.fs_layers |= object.next_value_seed(Any(ReadMany(Place::FsLayers, collector)))?;
                }
                Field::Subject => {
                    object.next_value_seed(Any(ReadOne(Place::Subject, collector)))?;
                }
                Field::Inert => {
                    object.next_value::<IgnoredAny>()?;
                }
                Field::Schema1Only => object.next_value_seed(Any(Scan(&mut document.schema1_only)))?,
                Field::Unknown => object.next_value_seed(Any(Scan(&mut document.unknown)))?,
            }
        }
        Ok(())
    }
}

impl Document {
    /// The kind that media type and fields agree on. When they do not, readers may disagree about what the document
    /// refers to, so that it counts as opaque.
    fn kind(&self) -> Kind {
        let Present { config, layers, manifests, blobs, fs_layers } = self.present;
        let class = match &self.media_type {
            Declared::Absent => Class::Absent,
            Declared::As(media_type) => Class::of(media_type),
            Declared::Ambiguous => Class::Unknown,
        };
        let image = config || layers;
        match class {
            Class::Image | Class::Absent if image && !manifests && !blobs && !fs_layers => Kind::Image,
            Class::Index | Class::Absent if manifests && !image && !blobs && !fs_layers => Kind::Index,
            Class::Schema1 | Class::Absent if fs_layers && !image && !manifests && !blobs => Kind::Schema1,
            Class::Artifact if !image && !manifests && !fs_layers => Kind::Artifact,
            // An index whose list is `null` is an empty index.
            Class::Index if !manifests && !image && !blobs && !fs_layers => Kind::Index,
            _ => Kind::Opaque,
        }
    }

    fn into_manifest(self, kind: Kind, everything: Option<Findings>) -> Manifest {
        let Self { media_type, artifact_type, collector, unknown, schema1_only, notes, .. } = self;
        let Collector { mut references, subject, mut unresolved } = collector;
        let mut take = |findings: &Findings| {
            references.push_unknown(&findings.digests);
            unresolved.append(&findings.unresolved);
        };
        take(&unknown);
        if kind != Kind::Schema1 {
            take(&schema1_only);
        }
        let opaque = everything.is_some();
        if let Some(everything) = everything {
            take(&everything);
        }
        let mut references = references.into_list();
        if opaque {
            for reference in &mut references {
                (reference.role, reference.foreign) = (Role::Unknown, false);
            }
        }
        Manifest {
            kind,
            media_type: media_type.into_text(),
            artifact_type: artifact_type.into_text(),
            references,
            subject,
            unresolved: unresolved.0,
            notes: notes.0,
        }
    }
}
