//! Encryption, and clients that are known by their certificates.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use tokio_rustls::TlsAcceptor;

/// Where certificate and key are, in PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// Our certificate, and those between it and its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authority that signs the certificates of clients, when they are to have one.
    pub client_authority: Option<PathBuf>,
}

/// Why connections cannot be encrypted.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds no PEM.
    #[error("cannot read {what} from {}: {why}", file.display())]
    File {
        /// What was expected.
        what: &'static str,
        /// The file.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Certificate and key do not fit, or are of a kind that is not known.
    #[error("the certificate in {} cannot be used with its key: {source}", file.display())]
    Pair {
        /// The certificate's file.
        file: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
}

impl TlsFiles {
    /// What accepts encrypted connections. A client without a certificate is let through, for the sake of probes; one
    /// whose certificate is not signed by the authority is not.
    ///
    /// # Errors
    /// When a file cannot be read or used.
    pub fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        // The first caller in the process says where the means to encrypt come from.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let certificates = certificates("the certificate", &self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| wrong("the private key", &self.key, &error))?;
        let builder = ServerConfig::builder();
        let builder = match &self.client_authority {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let what = "the authority of clients";
                let mut roots = RootCertStore::empty();
                for certificate in self::certificates(what, file)? {
                    roots.add(certificate).map_err(|error| wrong(what, file, &error))?;
                }
                let verifier = WebPkiClientVerifier::builder(Arc::new(roots))
                    .allow_unauthenticated()
                    .build()
                    .map_err(|error| wrong(what, file, &error))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder
            .with_single_cert(certificates, key)
            .map_err(|source| TlsError::Pair { file: self.certificate.clone(), source })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn wrong(what: &'static str, file: &Path, why: &dyn std::fmt::Display) -> TlsError {
    TlsError::File { what, file: file.to_owned(), why: why.to_string() }
}

fn certificates(what: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| wrong(what, file, &error))?;
    if found.is_empty() { Err(wrong(what, file, &"there is no certificate in it")) } else { Ok(found) }
}
