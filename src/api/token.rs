//! Tokens: who a request is for, signed by this installation (RFC 7519, HS256).

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};

/// How long a token is valid.
pub const LIFETIME: TimeDelta = TimeDelta::minutes(5);
/// How far the clocks of two processes may be apart.
const LEEWAY: TimeDelta = TimeDelta::seconds(5);
/// The longest token that is looked at, in bytes.
const LONGEST: usize = 2_048;
/// The longest that a label's value may be (63), for which `{uid}.{app}` has to do.
pub const LONGEST_SUBJECT: usize = 63;

/// Whom a token is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A user of an app, and perhaps the group that it acts in.
    User {
        /// The user: `{uid}.{app}`.
        user: String,
        /// The group: `{gid}.{app}`.
        group: Option<String>,
        /// The app.
        app: String,
    },
    /// The backend itself.
    App(String),
}

/// A token that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Whom it is for.
    pub subject: Subject,
    /// Until when it is valid.
    pub expires: DateTime<Utc>,
}

/// Why a token is not accepted. It does not say more to those who guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// Its time is over.
    #[error("the token has expired: get another one by POST /auth")]
    Expired,
    /// It was not signed here, or is no token.
    #[error("the token is not valid: get one by POST /auth")]
    Invalid,
}

/// Signs and verifies.
pub struct Signer {
    first: EncodingKey,
    all: Vec<DecodingKey>,
    validation: Validation,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    exp: i64,
}

/// The scope of tokens for a backend itself.
const APP_SCOPE: &str = "app";

impl Signer {
    /// With these secrets: the first signs, all verify.
    #[must_use]
    pub fn new(secrets: &[Vec<u8>]) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        // The time is looked at here, with a clock that is given.
        validation.validate_exp = false;
        validation.set_required_spec_claims(&["exp", "sub"]);
        Self {
            first: EncodingKey::from_secret(secrets.first().map_or(&[], Vec::as_slice)),
            all: secrets.iter().map(|secret| DecodingKey::from_secret(secret)).collect(),
            validation,
        }
    }

    /// A token for this subject, from now on.
    ///
    /// # Errors
    ///
    /// It cannot be signed: a defect.
    pub fn sign(&self, subject: &Subject, now: DateTime<Utc>) -> Result<String, jsonwebtoken::errors::Error> {
        let exp = (now + LIFETIME).timestamp();
        let claims = match subject {
            Subject::User { user, group, .. } => {
                Claims { sub: user.clone(), gid: group.clone(), scope: None, exp }
            }
            Subject::App(app) => Claims { sub: app.clone(), gid: None, scope: Some(APP_SCOPE.into()), exp },
        };
        encode(&Header::new(Algorithm::HS256), &claims, &self.first)
    }

    /// Reads a token.
    ///
    /// # Errors
    ///
    /// It is not one of ours, or over.
    pub fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Token, BadToken> {
        if token.len() > LONGEST {
            return Err(BadToken::Invalid);
        }
        let claims = self.all.iter().find_map(|key| decode::<Claims>(token, key, &self.validation).ok());
        let claims = claims.ok_or(BadToken::Invalid)?.claims;
        let expires = DateTime::from_timestamp(claims.exp, 0).ok_or(BadToken::Invalid)?;
        if expires.checked_add_signed(LEEWAY).is_none_or(|end| end <= now) {
            return Err(BadToken::Expired);
        }
        let subject = match claims.scope.as_deref() {
            Some(APP_SCOPE) => Subject::App(claims.sub),
            Some(_) => return Err(BadToken::Invalid),
            None => {
                let (_, app) = claims.sub.split_once('.').ok_or(BadToken::Invalid)?;
                Subject::User { app: app.into(), user: claims.sub.clone(), group: claims.gid }
            }
        };
        Ok(Token { subject, expires })
    }
}

/// The part before the app of a user or group: letters and digits, and `-` and `_` inside.
#[must_use]
pub fn is_uid(text: &str) -> bool {
    let ends = |char: Option<char>| char.is_some_and(|char| char.is_ascii_alphanumeric());
    ends(text.chars().next())
        && ends(text.chars().next_back())
        && text.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_'))
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64URL_NOPAD;

    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_900_000_000, 0).expect("a time")
    }

    fn user() -> Subject {
        Subject::User { user: "user.my.app".into(), group: Some("g.my.app".into()), app: "my.app".into() }
    }

    fn forged(header: &str, claims: &str) -> String {
        let part = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
        format!("{}.{}.", part(header), part(claims))
    }

    #[test]
    fn tokens_are_for_their_subject_and_their_time() {
        let signer = Signer::new(&[b"new".into(), b"old".into()]);
        for subject in [user(), Subject::App("my.app".into())] {
            let token = signer.sign(&subject, now()).expect("a token");
            let read = signer.verify(&token, now()).expect("it is valid");
            assert_eq!(read, Token { subject, expires: now() + LIFETIME });
            assert_eq!(signer.verify(&token, now() + LIFETIME + LEEWAY), Err(BadToken::Expired));
            // The first of the secrets has signed it.
            assert!(Signer::new(&[b"newer".into(), b"new".into()]).verify(&token, now()).is_ok());
            assert_eq!(Signer::new(&[b"old".into()]).verify(&token, now()), Err(BadToken::Invalid));
        }
    }

    #[test]
    fn what_was_not_signed_here_is_no_token() {
        let signer = Signer::new(&[b"secret".into()]);
        let key = EncodingKey::from_secret(b"secret");
        let exp = (now() + LIFETIME).timestamp();
        let sign = |algorithm, claims: serde_json::Value| {
            encode(&Header::new(algorithm), &claims, &key).expect("a token")
        };
        let good = serde_json::json!({"sub": "user.app", "exp": exp});
        assert!(signer.verify(&sign(Algorithm::HS256, good.clone()), now()).is_ok());
        let bad = [
            String::new(),
            "a.b.c".into(),
            "x".repeat(10_000),
            sign(Algorithm::HS512, good.clone()),
            forged(r#"{"alg":"none"}"#, &good.to_string()),
            forged(r#"{"alg":"HS256"}"#, &good.to_string()),
            sign(Algorithm::HS256, serde_json::json!({"exp": exp})),
            sign(Algorithm::HS256, serde_json::json!({"sub": "user.app"})),
            sign(Algorithm::HS256, serde_json::json!({"sub": "userapp", "exp": exp})),
            sign(Algorithm::HS256, serde_json::json!({"sub": "user.app", "exp": "later"})),
            sign(Algorithm::HS256, serde_json::json!({"sub": "user.app", "exp": exp, "scope": "root"})),
            Signer::new(&[b"other".into()]).sign(&user(), now()).expect("a token"),
        ];
        for token in bad {
            assert_eq!(signer.verify(&token, now()), Err(BadToken::Invalid), "{token}");
        }
    }

    #[test]
    fn uids_are_letters_and_digits() {
        for text in ["a", "user", "User-1", "a_b", "0"] {
            assert!(is_uid(text), "{text}");
        }
        for text in ["", "-a", "a-", "_", "a.b", "a b", "ü", "a/b", "a\n"] {
            assert!(!is_uid(text), "{text:?}");
        }
    }
}
