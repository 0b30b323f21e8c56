//! The ids of services: names that nobody can guess, since a service's URL is all that protects it.

use std::io;

use data_encoding::BASE32_NOPAD;
use ephemeron_preset_host::secret;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Bytes of an id: 120 bits are 24 characters of base32 with nothing left over.
const SIZE: usize = 15;

/// An id that was never there.
///
/// # Errors
///
/// The system has no random bytes.
pub fn random() -> io::Result<String> {
    Ok(written(&secret::random()?))
}

/// The id that belongs to a user's idempotency key: the same each time, unknown to others.
#[must_use]
pub fn derived(id_secret: &[u8], subject: &str, key: &str) -> String {
    // A subject has no control characters, so that no two pairs have the same text.
    written(&mac(id_secret, &["id", subject, key]))
}

/// The fingerprint by which a request that comes again is recognized.
#[must_use]
pub fn fingerprint(id_secret: &[u8], request: &str) -> String {
    written(&mac(id_secret, &["request", request]))
}

fn mac(secret: &[u8], parts: &[&str]) -> Vec<u8> {
    // A key of any length will do, so this cannot fail.
    let mac = Hmac::<Sha256>::new_from_slice(secret).map(|mac| {
        parts.iter().fold(mac, |mac, part| mac.chain_update(part).chain_update([0])).finalize().into_bytes()
    });
    mac.map(|bytes| bytes.to_vec()).unwrap_or_default()
}

/// As a name of an object: Services' names begin with a letter (RFC 1035).
fn written(bytes: &[u8]) -> String {
    let bytes = bytes.get(..SIZE).unwrap_or(bytes);
    format!("e{}", BASE32_NOPAD.encode(bytes).to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use ephemeron_preset_host::labels::is_dns_label;

    use super::*;

    #[test]
    fn ids_are_names_and_belong_to_their_key() {
        let ids = [
            random().expect("random bytes"),
            random().expect("random bytes"),
            derived(b"secret", "user.app", "key"),
            derived(b"secret", "user.app", "other"),
            derived(b"secret", "other.app", "key"),
            derived(b"secrets", "user.app", "key"),
            derived(b"secret", "user.appkey", ""),
            fingerprint(b"secret", "user.app"),
        ];
        for (at, id) in ids.iter().enumerate() {
            assert!(is_dns_label(id) && id.len() == 25 && id.starts_with('e'), "{id}");
            assert!(!ids[..at].contains(id), "{id}");
        }
        assert_eq!(derived(b"secret", "user.app", "key"), ids[2]);
    }
}
