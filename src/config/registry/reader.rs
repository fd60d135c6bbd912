//! Interprets a configuration's tree, section by section.

use std::path::PathBuf;

use super::document::{Node, Place, Value};
use super::{
    AzureStorage, DescriptorCache, GcsStorage, RedisCache, RedisTls, RegistryConfigError, S3Storage, Secret,
    Storage,
};

/// What distribution uses when the filesystem driver names no `rootdirectory`.
const DEFAULT_ROOT_DIRECTORY: &str = "/var/lib/registry";

/// The keys beside the driver's name in `storage` (`tag` since 3.x).
const STORAGE_SECTIONS: [&str; 5] = ["cache", "delete", "maintenance", "redirect", "tag"];

/// The document with the environment applied, and the name of its file.
pub(super) struct Reader<'a> {
    pub(super) origin: &'a str,
    pub(super) root: &'a Node,
}

impl Reader<'_> {
    pub(super) fn storage(&self) -> Result<Storage, RegistryConfigError> {
        let (driver, place) = self.driver()?;
        let of = |key| ["storage", driver.as_str(), key];
        let rootdirectory = |reader: &Self| {
            let text = reader.text(&of("rootdirectory"))?.unwrap_or_default();
            Ok(text.trim_matches('/').to_owned())
        };
        Ok(match driver.as_str() {
            "filesystem" => Storage::Filesystem { root: self.filesystem_root(&place)? },
            "s3" | "s3aws" => Storage::S3(S3Storage {
                bucket: self.required(&of("bucket"), &place)?,
                region: match self.text(&of("regionendpoint"))? {
                    None => Some(self.required(&of("region"), &place)?),
                    Some(_) => self.text(&of("region"))?,
                },
                regionendpoint: self.text(&of("regionendpoint"))?,
                rootdirectory: rootdirectory(self)?,
                accesskey: self.text(&of("accesskey"))?,
                secretkey: self.secret(&of("secretkey"))?,
                sessiontoken: self.secret(&of("sessiontoken"))?,
                forcepathstyle: match self.root.at(&of("forcepathstyle")) {
                    None => None,
                    Some(_) => Some(self.flag(&of("forcepathstyle"), false)?),
                },
                secure: self.flag(&of("secure"), true)?,
                skipverify: self.flag(&of("skipverify"), false)?,
            }),
            "gcs" => Storage::Gcs(GcsStorage {
                bucket: self.required(&of("bucket"), &place)?,
                rootdirectory: rootdirectory(self)?,
                keyfile: self.text(&of("keyfile"))?.map(PathBuf::from),
                credentials: self.root.at(&of("credentials")).map(|node| Secret(node.to_json().to_string())),
            }),
            "azure" => Storage::Azure(AzureStorage {
                accountname: self.required(&of("accountname"), &place)?,
                accountkey: self.secret(&of("accountkey"))?,
                connectionstring: self.secret(&of("connectionstring"))?,
                container: self.required(&of("container"), &place)?,
                realm: self.text(&of("realm"))?.unwrap_or_else(|| "core.windows.net".to_owned()),
                rootdirectory: rootdirectory(self)?,
                serviceurl: self.text(&of("serviceurl"))?,
            }),
            _ => Storage::Other(driver),
        })
    }

    /// The name of the one driver. `storage: inmemory` is short for `storage: { inmemory: {} }`.
    fn driver(&self) -> Result<(String, Place), RegistryConfigError> {
        let origin = self.origin.to_owned();
        let Some(storage) = self.root.get("storage") else {
            return Err(RegistryConfigError::NoDriver { origin });
        };
        let entries = match &storage.value {
            Value::Map(entries) => entries,
            Value::Text(name) if !name.is_empty() => return Ok((name.clone(), storage.place.clone())),
            _ => return Err(RegistryConfigError::NoDriver { origin }),
        };
        let mut drivers: Vec<_> =
            entries.iter().filter(|(key, _)| !STORAGE_SECTIONS.contains(&key.as_str())).collect();
        match (drivers.pop(), drivers.is_empty()) {
            (None, _) => Err(RegistryConfigError::NoDriver { origin }),
            (Some((name, node)), true) => Ok((name.clone(), node.place.clone())),
            (Some(last), false) => {
                drivers.push(last);
                let drivers: Vec<String> =
                    drivers.iter().map(|(name, node)| format!("{name}: {}", node.place)).collect();
                Err(RegistryConfigError::SeveralDrivers { origin, drivers: drivers.join(", ") })
            }
        }
    }

    /// A `rootdirectory` that is written but empty would put the store at the root of the machine.
    fn filesystem_root(&self, place: &Place) -> Result<PathBuf, RegistryConfigError> {
        let path = ["storage", "filesystem", "rootdirectory"];
        let written = self.root.at(&path[..2]).is_some_and(|driver| driver.has("rootdirectory"));
        if written {
            return self.required(&path, place).map(PathBuf::from);
        }
        Ok(PathBuf::from(DEFAULT_ROOT_DIRECTORY))
    }

    pub(super) fn cache(&self) -> Result<DescriptorCache, RegistryConfigError> {
        let Some(section) = self.root.at(&["storage", "cache"]) else { return Ok(DescriptorCache::None) };
        let key = if section.has("blobdescriptor") { "blobdescriptor" } else { "layerinfo" };
        match self.text(&["storage", "cache", key])?.as_deref() {
            Some("inmemory") => Ok(DescriptorCache::InMemory),
            Some("redis") => self.redis(&section.place).map(DescriptorCache::Redis),
            _ => Ok(DescriptorCache::None),
        }
    }

    fn redis(&self, place: &Place) -> Result<RedisCache, RegistryConfigError> {
        let mut addrs = self.texts(&["redis", "addrs"])?;
        if addrs.is_empty() {
            addrs.push(self.required(&["redis", "addr"], place)?);
        }
        let db = match self.root.at(&["redis", "db"]) {
            None => 0,
            Some(node) => {
                let path = ["redis", "db"];
                self.text_of(node, &path)?.parse().map_err(|_| self.kind(node, &path, "a whole number"))?
            }
        };
        Ok(RedisCache {
            addrs,
            username: self.text(&["redis", "username"])?,
            password: self.secret(&["redis", "password"])?,
            db,
            mastername: self.text(&["redis", "mastername"])?,
            tls: self.redis_tls()?,
        })
    }

    fn redis_tls(&self) -> Result<Option<RedisTls>, RegistryConfigError> {
        let file = |key| Ok(self.text(&["redis", "tls", key])?.map(PathBuf::from));
        let (certificate, key) = (file("certificate")?, file("key")?);
        let rootcas: Vec<PathBuf> =
            self.texts(&["redis", "tls", "rootcas"])?.into_iter().map(PathBuf::from).collect();
        if certificate.is_none() && key.is_none() && rootcas.is_empty() {
            return Ok(None);
        }
        Ok(Some(RedisTls { client: certificate.zip(key), rootcas }))
    }

    /// The texts of a list, or the one that stands in its place; without empty ones.
    fn texts(&self, path: &[&str]) -> Result<Vec<String>, RegistryConfigError> {
        let mut texts = match self.root.at(path) {
            Some(Node { value: Value::List(items), .. }) => {
                items.iter().map(|item| self.text_of(item, path)).collect::<Result<Vec<_>, _>>()?
            }
            Some(node) => vec![self.text_of(node, path)?],
            None => Vec::new(),
        };
        texts.retain(|text| !text.is_empty());
        Ok(texts)
    }

    /// A text that is absent when null or empty.
    pub(super) fn text(&self, path: &[&str]) -> Result<Option<String>, RegistryConfigError> {
        let Some(node) = self.root.at(path) else { return Ok(None) };
        Ok(Some(self.text_of(node, path)?).filter(|text| !text.is_empty()))
    }

    fn required(&self, path: &[&str], section: &Place) -> Result<String, RegistryConfigError> {
        self.text(path)?.ok_or_else(|| RegistryConfigError::Missing {
            origin: self.origin.to_owned(),
            place: self.root.at(path).map_or(section, |node| &node.place).to_string(),
            key: path.join("."),
        })
    }

    fn secret(&self, path: &[&str]) -> Result<Option<Secret>, RegistryConfigError> {
        Ok(self.text(path)?.map(Secret))
    }

    fn text_of(&self, node: &Node, path: &[&str]) -> Result<String, RegistryConfigError> {
        match &node.value {
            Value::Text(text) => Ok(text.clone()),
            Value::Bool(value) => Ok(value.to_string()),
            Value::Null => Ok(String::new()),
            Value::List(_) | Value::Map(_) => Err(self.kind(node, path, "a text")),
        }
    }

    /// A boolean in any spelling that the registry takes for one: YAML 1.1's words, and for drivers also texts.
    pub(super) fn flag(&self, path: &[&str], default: bool) -> Result<bool, RegistryConfigError> {
        let Some(node) = self.root.at(path) else { return Ok(default) };
        let text = self.text_of(node, path)?.to_lowercase();
        match text.as_str() {
            "true" | "yes" | "on" | "y" | "t" | "1" => Ok(true),
            "false" | "no" | "off" | "n" | "f" | "0" => Ok(false),
            _ => Err(self.kind(node, path, "true or false")),
        }
    }

    fn kind(&self, node: &Node, path: &[&str], expected: &'static str) -> RegistryConfigError {
        RegistryConfigError::Kind {
            origin: self.origin.to_owned(),
            place: node.place.to_string(),
            key: path.join("."),
            expected,
        }
    }
}
