//! Signatures and shared secrets, over raw bytes and in constant time.

use ed25519_dalek::{Signature, VerifyingKey};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// GitHub's `X-Hub-Signature-256`: `sha256=` and the HMAC of the body in hexadecimal.
pub fn github(secret: &[u8], body: &[u8], header: &str) -> bool {
    let Some(Ok(given)) = header.strip_prefix("sha256=").map(hex::decode) else { return false };
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return false };
    mac.update(body);
    mac.verify_slice(&given).is_ok()
}

/// Discord's Ed25519 signature over the time stamp and the body.
pub fn discord(public_key: &[u8; 32], timestamp: &str, body: &[u8], header: &str) -> bool {
    let mut signature = [0; 64];
    if hex::decode_to_slice(header, &mut signature).is_err() {
        return false;
    }
    let Ok(key) = VerifyingKey::from_bytes(public_key) else { return false };
    // Strict: no key or signature that passes for many messages.
    key.verify_strict(&[timestamp.as_bytes(), body].concat(), &Signature::from_bytes(&signature)).is_ok()
}

/// Two secrets, told apart in a time that depends on neither, nor on the length of ours.
pub fn same(ours: &[u8], given: &[u8]) -> bool {
    Sha256::digest(ours).ct_eq(&Sha256::digest(given)).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signer, SigningKey};

    #[test]
    fn githubs_documented_signature_example_verifies() {
        let (secret, body) = (b"It's a Secret to Everybody".as_slice(), b"Hello, World!".as_slice());
        let good = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert!(github(secret, body, good));
        assert!(github(secret, body, &good.to_uppercase().replace("SHA256", "sha256")));
        for bad in ["", "sha256=", "sha1=757107ea", &good[..70], &good.replace('7', "8"), &good.replace("sha256=", "")]
        {
            assert!(!github(secret, body, bad), "{bad}");
        }
        assert!(!github(b"another", body, good) && !github(secret, b"Hello, World?", good));
    }

    #[test]
    fn discords_signature_covers_timestamp_and_body() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let public = key.verifying_key().to_bytes();
        let good = hex::encode(key.sign(b"1700000000{\"type\":1}").to_bytes());
        assert!(discord(&public, "1700000000", b"{\"type\":1}", &good));
        assert!(!discord(&public, "1700000001", b"{\"type\":1}", &good));
        assert!(!discord(&public, "1700000000", b"{\"type\":2}", &good));
        assert!(!discord(&[0; 32], "1700000000", b"{\"type\":1}", &good));
        for bad in ["", "zz", &good[..126]] {
            assert!(!discord(&public, "1700000000", b"{\"type\":1}", bad));
        }
    }

    #[test]
    fn secrets_are_equal_only_as_a_whole() {
        assert!(same(b"a", b"a") && !same(b"a", b"b") && !same(b"a", b"") && same(b"", b""));
    }
}
