//! Descriptors: the places of a manifest that are known to refer to something.

use serde::de::{IgnoredAny, MapAccess, SeqAccess};

use super::collect::{Findings, References, Remarks, Scan};
use super::json::{Any, IsFilledArray, ReadNumber, ReadText, ReadWith, Reader, Text};
use super::{Reference, Role};
use crate::oci::Digest;
use crate::oci::media_type::Class;

/// The top-level fields that hold descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Config,
    Layers,
    Manifests,
    Blobs,
    FsLayers,
    Subject,
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Layers => "layers",
            Self::Manifests => "manifests",
            Self::Blobs => "blobs",
            Self::FsLayers => "fsLayers",
            Self::Subject => "subject",
        }
    }

    /// What an entry here is, by the field and by its own media type.
    fn role(self, class: Class) -> Role {
        match self {
            Self::Subject => Role::Manifest,
            Self::Manifests => match class {
                Class::Blob | Class::ForeignBlob => Role::Blob,
                Class::Unknown => Role::Unknown,
                _ => Role::Manifest,
            },
            _ if class.is_manifest() => Role::Manifest,
            Self::Config => Role::Config,
            Self::Layers | Self::FsLayers => Role::Layer,
            Self::Blobs => Role::Blob,
        }
    }
}

/// What descriptors have yielded.
#[derive(Debug, Default)]
pub(super) struct Collector {
    pub(super) references: References,
    pub(super) subject: Option<Reference>,
    pub(super) unresolved: Remarks,
}

impl Collector {
    fn take(&mut self, place: Place, descriptor: Descriptor) {
        let Descriptor { digest, class, size, urls, platform, unknown } = descriptor;
        self.unresolved.append(&unknown.unresolved);
        if digest.is_none() && unknown.digests.is_empty() && unknown.unresolved.0.is_empty() {
            self.unresolved.push(&format!("a descriptor without a digest in `{}`", place.name()));
        }
        if let Some(digest) = digest {
            let foreign = urls || class == Class::ForeignBlob;
            let reference = Reference { digest, size, role: place.role(class), foreign, platform };
            match place {
                Place::Subject if self.subject.is_none() => self.subject = Some(reference),
                _ => self.references.push(reference),
            }
        }
        self.references.push_unknown(&unknown.digests);
    }
}

/// One descriptor, however broken.
#[derive(Debug)]
struct Descriptor {
    digest: Option<Digest>,
    class: Class,
    size: Option<u64>,
    urls: bool,
    platform: Option<String>,
    /// What stands in fields that are not known, and a second `digest`: readers disagree on which one counts.
    unknown: Findings,
}

impl Default for Descriptor {
    fn default() -> Self {
        let unknown = Findings::default();
        Self { digest: None, class: Class::Absent, size: None, urls: false, platform: None, unknown }
    }
}

enum Field {
    Digest,
    MediaType,
    Size,
    Urls,
    Platform,
    Inert,
    Unknown,
}

impl Field {
    /// Distribution reads field names without regard to case, as Go does. Such spellings are unknown here, which finds
    /// the digest all the same.
    fn of(name: &str, unknown: &mut Findings) -> Self {
        match name {
            "digest" | "blobSum" => Self::Digest,
            "mediaType" => Self::MediaType,
            "size" => Self::Size,
            "urls" => Self::Urls,
            "platform" => Self::Platform,
            "annotations" | "data" | "artifactType" => Self::Inert,
            _ => {
                unknown.scan(name);
                Self::Unknown
            }
        }
    }
}

/// Reads the value of a field that should hold a digest.
struct ReadDigest<'f>(&'f mut Findings);

impl<'de> Reader<'de> for ReadDigest<'_> {
    type Value = Option<Digest>;

    fn other(self) -> Option<Digest> {
        self.0.unresolved.push("a digest that is not a text");
        None
    }

    fn text(self, text: &str) -> Option<Digest> {
        let digest = text.parse().ok();
        if digest.is_none() {
            self.0.unresolved.push(if text.is_empty() { "an empty digest" } else { text });
        }
        digest
    }

    fn array<A: SeqAccess<'de>>(self, array: A) -> Result<Option<Digest>, A::Error> {
        Scan(&mut *self.0).array(array)?;
        Ok(self.other())
    }

    fn object<A: MapAccess<'de>>(self, object: A) -> Result<Option<Digest>, A::Error> {
        Scan(&mut *self.0).object(object)?;
        Ok(self.other())
    }
}

/// Reads one descriptor.
struct ReadDescriptor;

impl<'de> Reader<'de> for ReadDescriptor {
    type Value = Descriptor;

    fn other(self) -> Descriptor {
        Descriptor::default()
    }

    fn text(self, text: &str) -> Descriptor {
        let mut descriptor = Descriptor::default();
        descriptor.unknown.scan(text);
        descriptor
    }

    fn array<A: SeqAccess<'de>>(self, array: A) -> Result<Descriptor, A::Error> {
        let mut descriptor = Descriptor::default();
        Scan(&mut descriptor.unknown).array(array)?;
        Ok(descriptor)
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<Descriptor, A::Error> {
        let mut found = Descriptor::default();
        while let Some(field) =
            object.next_key_seed(Any(ReadWith(|name: &str| Field::of(name, &mut found.unknown))))?
        {
            match field.unwrap_or(Field::Unknown) {
                Field::Digest => match object.next_value_seed(Any(ReadDigest(&mut found.unknown)))? {
                    Some(digest) if found.digest.is_none() => found.digest = Some(digest),
                    Some(digest) => found.unknown.digests.push(digest),
                    None => {}
                },
                Field::MediaType => {
                    found.class = object.next_value_seed(Any(ReadWith(Class::of)))?.unwrap_or(Class::Unknown);
                }
                Field::Size => found.size = object.next_value_seed(Any(ReadNumber))?,
                Field::Urls => found.urls = object.next_value_seed(Any(IsFilledArray))?,
                Field::Platform => found.platform = object.next_value_seed(Any(ReadPlatform))?,
                Field::Inert => {
                    object.next_value::<IgnoredAny>()?;
                }
                Field::Unknown => object.next_value_seed(Any(Scan(&mut found.unknown)))?,
            }
        }
        Ok(found)
    }
}

/// Reads a platform as `os/architecture` or `os/architecture/variant`.
struct ReadPlatform;

impl<'de> Reader<'de> for ReadPlatform {
    type Value = Option<String>;

    fn other(self) -> Option<String> {
        None
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<Option<String>, A::Error> {
        let mut parts = [None, None, None];
        let part = |name: &str| ["os", "architecture", "variant"].iter().position(|part| *part == name);
        while let Some(part) = object.next_key_seed(Any(ReadWith(part)))? {
            let value = object.next_value_seed(Any(ReadText))?;
            if let (Some(part), Text::Found(text)) = (part.flatten(), value)
                && !text.is_empty()
            {
                parts[part] = Some(text);
            }
        }
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        Ok((!parts.is_empty()).then(|| parts.join("/")))
    }
}

/// Reads a field that should hold one descriptor. The value is whether it holds anything.
pub(super) struct ReadOne<'c>(pub(super) Place, pub(super) &'c mut Collector);

impl<'de> Reader<'de> for ReadOne<'_> {
    type Value = bool;

    fn other(self) -> bool {
        self.1.take(self.0, ReadDescriptor.other());
        true
    }

    fn null(self) -> bool {
        false
    }

    fn text(self, text: &str) -> bool {
        self.1.take(self.0, ReadDescriptor.text(text));
        true
    }

    fn array<A: SeqAccess<'de>>(self, array: A) -> Result<bool, A::Error> {
        self.1.take(self.0, ReadDescriptor.array(array)?);
        Ok(true)
    }

    fn object<A: MapAccess<'de>>(self, object: A) -> Result<bool, A::Error> {
        self.1.take(self.0, ReadDescriptor.object(object)?);
        Ok(true)
    }
}

/// Reads a field that should hold a list of descriptors. The value is whether it holds anything, be it an empty list.
pub(super) struct ReadMany<'c>(pub(super) Place, pub(super) &'c mut Collector);

impl<'de> Reader<'de> for ReadMany<'_> {
    type Value = bool;

    fn other(self) -> bool {
        ReadOne(self.0, self.1).other()
    }

    fn null(self) -> bool {
        false
    }

    fn text(self, text: &str) -> bool {
        ReadOne(self.0, self.1).text(text)
    }

    fn array<A: SeqAccess<'de>>(self, mut array: A) -> Result<bool, A::Error> {
        while let Some(descriptor) = array.next_element_seed(Any(ReadDescriptor))? {
            self.1.take(self.0, descriptor);
        }
        Ok(true)
    }

    fn object<A: MapAccess<'de>>(self, object: A) -> Result<bool, A::Error> {
        ReadOne(self.0, self.1).object(object)
    }
}
