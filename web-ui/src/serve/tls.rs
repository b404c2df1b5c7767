//! TLS 1.2 and 1.3 with the box's own certificate.

use std::sync::Arc;

use postern::certificate::Certificate;
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::version::{TLS12, TLS13};
use tokio_rustls::TlsAcceptor;

/// What shakes hands with this certificate. Nothing is offered besides HTTP/1.1 (no ALPN), and no client is asked for a
/// certificate.
pub(super) fn acceptor(certificate: &Certificate) -> Result<TlsAcceptor, Box<dyn std::error::Error>> {
    let (certificate, key) = certificate.der().ok_or("the daemon's certificate cannot be read")?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from(certificate)],
            PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key)),
        )?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
