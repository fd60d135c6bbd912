//! Where a registry's storage driver keeps its data, as a store to open. What its configuration leaves out comes from the
//! environment, as it does for the registry.

use super::{AzureStorage, GcsStorage, S3Storage, Secret, Storage};
use crate::store::{BucketLocation, Location, Provider, StoreError};

impl Storage {
    /// The store that the driver writes; `None` for a driver that is not read.
    ///
    /// # Errors
    /// [`StoreError::Location`] when its root directory cannot be named.
    pub fn location(&self) -> Result<Option<Location>, StoreError> {
        Ok(Some(match self {
            Self::Filesystem { root } => Location::Directory(root.clone()),
            Self::S3(storage) => Location::Bucket(s3(storage)?),
            Self::Gcs(storage) => Location::Bucket(gcs(storage)?),
            Self::Azure(storage) => Location::Bucket(azure(storage)?),
            Self::Other(_) => return Ok(None),
        }))
    }
}

fn set_secret(location: &mut BucketLocation, name: &'static str, value: Option<&Secret>) {
    if let Some(value) = value {
        location.set(name, value.expose());
    }
}

/// What the registry's `s3` driver uses. What its configuration leaves out comes from the environment, as there.
fn s3(storage: &S3Storage) -> Result<BucketLocation, StoreError> {
    let mut location = BucketLocation::new(Provider::S3, &storage.bucket, &storage.rootdirectory)?;
    if let Some(region) = &storage.region {
        location.set("aws_region", region);
    }
    if let Some(endpoint) = &storage.regionendpoint {
        let endpoint = if endpoint.contains("://") {
            endpoint.clone()
        } else {
            format!("{}://{endpoint}", if storage.secure { "https" } else { "http" })
        };
        let endpoint = endpoint.trim_end_matches('/');
        match (storage.forcepathstyle, endpoint.split_once("://")) {
            (Some(false), Some((scheme, host))) => {
                location.set("aws_virtual_hosted_style_request", "true");
                location.set("aws_endpoint", format!("{scheme}://{}.{host}", storage.bucket));
            }
            _ => location.set("aws_endpoint", endpoint),
        }
    }
    if let Some(key) = &storage.accesskey {
        location.set("aws_access_key_id", key);
    }
    set_secret(&mut location, "aws_secret_access_key", storage.secretkey.as_ref());
    set_secret(&mut location, "aws_session_token", storage.sessiontoken.as_ref());
    if storage.skipverify {
        location.set("allow_invalid_certificates", "true");
    }
    Ok(location)
}

/// What the registry's `gcs` driver uses.
fn gcs(storage: &GcsStorage) -> Result<BucketLocation, StoreError> {
    let mut location = BucketLocation::new(Provider::Gcs, &storage.bucket, &storage.rootdirectory)?;
    if let Some(file) = &storage.keyfile {
        location.set("google_service_account", file.display().to_string());
    }
    set_secret(&mut location, "google_service_account_key", storage.credentials.as_ref());
    Ok(location)
}

/// What the registry's `azure` driver uses.
fn azure(storage: &AzureStorage) -> Result<BucketLocation, StoreError> {
    let mut location = BucketLocation::new(Provider::Azure, &storage.container, &storage.rootdirectory)?;
    let text = storage.connectionstring.as_ref().map(Secret::expose).unwrap_or_default();
    let part = |name: &str| {
        text.split(';').find_map(|part| {
            part.split_once('=').filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        })
    };
    let account = part("AccountName").unwrap_or(&storage.accountname);
    if !account.is_empty() {
        location.set("azure_storage_account_name", account);
    }
    match part("AccountKey") {
        Some(key) => location.set("azure_storage_account_key", key),
        None => set_secret(&mut location, "azure_storage_account_key", storage.accountkey.as_ref()),
    }
    let endpoint = part("BlobEndpoint").map(str::to_owned).or_else(|| storage.serviceurl.clone());
    match endpoint {
        Some(endpoint) => location.set("azure_storage_endpoint", endpoint.trim_end_matches('/')),
        None if storage.realm != "core.windows.net" => {
            location.set("azure_storage_endpoint", format!("https://{account}.blob.{}", storage.realm));
        }
        None => {}
    }
    Ok(location)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::RegistryConfig;
    use super::*;

    fn bucket(storage: &str) -> BucketLocation {
        let text = format!("version: 0.1\nstorage:\n{storage}");
        let config = RegistryConfig::read(&text, "config.yml", &BTreeMap::new()).unwrap();
        match config.storage.location().unwrap() {
            Some(Location::Bucket(bucket)) => bucket,
            other => panic!("{other:?}"),
        }
    }

    fn expected(
        provider: Provider,
        bucket: &str,
        prefix: &str,
        settings: &[(&'static str, &str)],
    ) -> BucketLocation {
        let mut location = BucketLocation::new(provider, bucket, prefix).unwrap();
        for (name, value) in settings {
            location.set(name, *value);
        }
        location
    }

    #[test]
    fn an_s3_endpoint_gets_its_scheme_and_an_addressing_style() {
        let base = "  s3:\n    bucket: b\n    region: eu\n    rootdirectory: /pre/fix/\n";
        for (more, endpoint) in [
            ("    regionendpoint: 127.0.0.1:9000\n    secure: false\n", "http://127.0.0.1:9000"),
            ("    regionendpoint: s3.local\n", "https://s3.local"),
            ("    regionendpoint: http://s3.local/\n    forcepathstyle: true\n", "http://s3.local"),
        ] {
            let wanted =
                expected(Provider::S3, "b", "pre/fix", &[("aws_region", "eu"), ("aws_endpoint", endpoint)]);
            assert_eq!(bucket(&format!("{base}{more}")), wanted, "{more}");
        }
        let virtual_host =
            bucket(&format!("{base}    regionendpoint: https://s3.local\n    forcepathstyle: false\n"));
        let settings = [
            ("aws_region", "eu"),
            ("aws_virtual_hosted_style_request", "true"),
            ("aws_endpoint", "https://b.s3.local"),
        ];
        assert_eq!(virtual_host, expected(Provider::S3, "b", "pre/fix", &settings));
    }

    #[test]
    fn azure_is_found_by_account_realm_or_connection_string() {
        let base = "  azure:\n    container: c\n";
        let settings = [
            ("azure_storage_account_name", "a"),
            ("azure_storage_account_key", "a2V5"),
            ("azure_storage_endpoint", "https://a.blob.core.chinacloudapi.cn"),
        ];
        let realm = "    accountname: a\n    accountkey: a2V5\n    realm: core.chinacloudapi.cn\n";
        assert_eq!(bucket(&format!("{base}{realm}")), expected(Provider::Azure, "c", "", &settings));
        let text = "    accountname: a\n    connectionstring: AccountName=a;AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:1/a\n";
        let settings = [settings[0], settings[1], ("azure_storage_endpoint", "http://127.0.0.1:1/a")];
        assert_eq!(bucket(&format!("{base}{text}")), expected(Provider::Azure, "c", "", &settings));
    }
}
