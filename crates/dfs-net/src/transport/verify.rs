//! Checks the certificate of a peer: it is the only one, and the key of the
//! peer's identity has signed its key.
//!
//! Which peer was meant is checked by libp2p once the handshake has ended.

use std::sync::Arc;

use libp2p_tls::certificate;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError,
    PeerIncompatible, SignatureScheme,
};

/// The verifier of both ends: each of them shows a certificate.
#[derive(Debug)]
pub(super) struct Libp2pCertificate;

/// Signatures that `libp2p-tls` can verify, the best first.
const SCHEMES: [SignatureScheme; 9] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PKCS1_SHA512,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA256,
];

fn check(only: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Result<(), Error> {
    if !others.is_empty() {
        return Err(CertificateError::ApplicationVerificationFailure.into());
    }
    certificate::parse(only).map(|_| ()).map_err(refused)
}

fn check_signature(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let parsed = certificate::parse(certificate).map_err(refused)?;
    parsed.verify_signature(signed.scheme, message, signed.signature()).map_err(refused)?;
    Ok(HandshakeSignatureValid::assertion())
}

fn refused(cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    CertificateError::Other(OtherError(Arc::new(cause))).into()
}

/// TLS 1.2 is not offered.
fn no_tls12() -> Error {
    PeerIncompatible::Tls12NotOffered.into()
}

impl ServerCertVerifier for Libp2pCertificate {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        check(certificate, others).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
}

impl ClientCertVerifier for Libp2pCertificate {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        check(certificate, others).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use libp2p::identity::Keypair;

    use super::*;

    #[test]
    fn only_one_certificate_that_an_identity_has_signed_is_accepted() {
        let keypair = Keypair::generate_ed25519();
        let (certificate, _) = certificate::generate(&keypair).expect("a certificate");
        check(&certificate, &[]).expect("its own certificate");
        assert!(check(&certificate, std::slice::from_ref(&certificate)).is_err(), "two of them");
        // The signed part has a header of four bytes, and so has the whole.
        let signed_len = usize::from(u16::from_be_bytes([certificate[6], certificate[7]]));
        for at in 4..8 + signed_len {
            let mut forged = certificate.to_vec();
            forged[at] ^= 1;
            assert!(check(&CertificateDer::from(forged), &[]).is_err(), "byte {at} is forged");
        }
    }
}
