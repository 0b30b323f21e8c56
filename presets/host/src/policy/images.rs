//! Which images may run: an allow-list on normalised references.

use std::str::FromStr;

use k8s_openapi::api::core::v1::PodSpec;

use super::{Violation, containers::views, reference::Reference};

/// The images that may run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Images {
    /// Whatever is an image reference.
    #[default]
    Any,
    /// What one of these fits.
    These(Vec<Pattern>),
}

/// Some images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Those of a repository, whatever tag and digest they have.
    Repository(String),
    /// Those of a repository with this tag and no digest. With a digest the tag would not decide what
    /// runs: runtimes pull by the digest and do not look at the tag.
    Tag(String, String),
    /// The one of this repository and digest, with whatever tag.
    Digest(String, String),
    /// Those of all repositories whose names begin so; it ends in a slash.
    Below(String),
}

/// The text is not a list of image patterns.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is neither an image (NAME, NAME:TAG or NAME@DIGEST) nor a prefix that ends in /* (such as \
     registry.example.com/team/*): write a list of these with commas between them, or * for any image"
)]
pub struct NotAPattern(String);

impl FromStr for Images {
    type Err = NotAPattern;

    fn from_str(text: &str) -> Result<Self, NotAPattern> {
        if text.trim() == "*" {
            return Ok(Self::Any);
        }
        Ok(Self::These(text.split(',').map(|one| one.trim().parse()).collect::<Result<_, _>>()?))
    }
}

impl FromStr for Pattern {
    type Err = NotAPattern;

    fn from_str(text: &str) -> Result<Self, NotAPattern> {
        let wrong = || NotAPattern(text.chars().take(200).collect());
        let read = |text: &str| {
            let reference: Reference = text.parse().map_err(|_| wrong())?;
            // Capitals in a registry would fit no image: hosts are compared as they are written.
            let has_capital = reference.registry.contains(|char: char| char.is_ascii_uppercase());
            if has_capital { Err(wrong()) } else { Ok(reference) }
        };
        if let Some(prefix) = text.strip_suffix("/*") {
            // With two parts more it is filled in as the images below it are.
            const BELOW: &str = "a/b";
            if prefix.contains('@') {
                return Err(wrong());
            }
            let below = read(&format!("{prefix}/{BELOW}"))?.name();
            return Ok(Self::Below(below.strip_suffix(BELOW).ok_or_else(wrong)?.to_owned()));
        }
        let reference = read(text)?;
        let repository = reference.name();
        let said = text.rsplit('/').next().unwrap_or(text);
        Ok(match (reference.digest, reference.tag) {
            (Some(digest), _) => Self::Digest(repository, digest),
            (None, Some(tag)) if said.contains(':') => Self::Tag(repository, tag),
            (None, _) => Self::Repository(repository),
        })
    }
}

impl Pattern {
    fn fits(&self, reference: &Reference) -> bool {
        let name = reference.name();
        match self {
            Self::Repository(repository) => *repository == name,
            Self::Tag(repository, tag) => {
                *repository == name && reference.tag.as_ref() == Some(tag) && reference.digest.is_none()
            }
            Self::Digest(repository, digest) => {
                *repository == name && reference.digest.as_ref() == Some(digest)
            }
            Self::Below(prefix) => name.starts_with(prefix.as_str()),
        }
    }
}

impl Images {
    /// Checks every image of a Pod: those of its containers and those that are volumes.
    ///
    /// # Errors
    ///
    /// The first that is missing, is no reference or is not allowed.
    pub(super) fn check(&self, spec: &PodSpec) -> Result<(), Violation> {
        for view in views(spec) {
            let field = format!("{}.image", view.field);
            match view.image {
                None | Some("") => return Err(Violation::NoImage { field }),
                Some(image) => self.check_one(&field, image)?,
            }
        }
        for (index, volume) in spec.volumes.iter().flatten().enumerate() {
            let image = volume.image.as_ref().and_then(|image| image.reference.as_deref());
            if let Some(image) = image {
                self.check_one(&format!("spec.volumes[{index}].image.reference"), image)?;
            }
        }
        Ok(())
    }

    fn check_one(&self, field: &str, image: &str) -> Result<(), Violation> {
        let reference: Reference =
            image.parse().map_err(|why| Violation::NotAnImage { field: field.into(), why })?;
        let is_allowed = match self {
            Self::Any => true,
            Self::These(patterns) => patterns.iter().any(|pattern| pattern.fits(&reference)),
        };
        if is_allowed {
            Ok(())
        } else {
            Err(Violation::ImageNotAllowed { field: field.into(), image: reference.to_string() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn fits(patterns: &str, image: &str) -> bool {
        let images: Images = patterns.parse().expect(patterns);
        images.check_one("spec.containers[0].image", image).is_ok()
    }

    #[test]
    fn a_pattern_fits_what_it_says_and_no_more() {
        let by_digest = format!("nginx@{SHA}");
        let both = format!("nginx:1.27@{SHA}");
        let other_digest = by_digest.replace("e3b0", "0000");
        let rows: &[(&str, &[&str], &[&str])] = &[
            ("*", &["nginx", "registry.example.com/a"], &[]),
            (
                "nginx",
                &[
                    "nginx",
                    "nginx:1.27",
                    "docker.io/nginx",
                    "docker.io/library/nginx:x",
                    "index.docker.io/library/nginx",
                    &by_digest,
                ],
                &["nginx2", "evil/nginx", "registry.example.com/nginx", "registry.example.com/library/nginx"],
            ),
            // Without a tag, an image is that of `latest`.
            ("nginx:latest", &["nginx", "docker.io/library/nginx:latest"], &["nginx:1.27", &by_digest]),
            // The digest decides what runs, whatever tag is written before it.
            ("nginx:1.27", &["nginx:1.27"], &["nginx", "nginx:1.2", "nginx:1.27.1", &both]),
            (&by_digest, &[&by_digest, &both], &["nginx", &other_digest]),
            (
                "docker.io/*",
                &["nginx", "evil/a/b"],
                &["registry.example.com/a", "docker.io.evil.org/a", "DOCKER.IO/a"],
            ),
            ("docker.io/library/*", &["nginx", "docker.io/nginx"], &["evil/nginx", "library.evil.org/nginx"]),
            (
                "team/*",
                &["team/a", "docker.io/team/a/b"],
                &["team", "team2/a", "registry.example.com/team/a"],
            ),
            (
                "registry.example.com/*",
                &["registry.example.com/a", "registry.example.com/a/b:1"],
                &[
                    "registry.example.com.evil.org/a",
                    "registry.example.com:5000/a",
                    "Registry.Example.com/a",
                    "evil.org/registry.example.com/a",
                    "registry.example.com",
                ],
            ),
            (
                "registry.example.com:5000/team/*",
                &["registry.example.com:5000/team/a"],
                &["registry.example.com/team/a"],
            ),
            ("a, b/*", &["a", "b/c"], &["b", "c"]),
        ];
        for (patterns, fitting, others) in rows {
            for image in *fitting {
                assert!(fits(patterns, image), "{patterns} should allow {image}");
            }
            for image in *others {
                assert!(!fits(patterns, image), "{patterns} should not allow {image}");
            }
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        let texts = [
            "",
            ",",
            "a,",
            "a,,b",
            "/*",
            "*/a",
            "a*",
            "a/b*",
            "a/*/b",
            "*,a",
            "registry.example.com*",
            "A/*",
            "nginx:1.27/*",
            "Registry.Example.com/a",
            &format!("a@{SHA}/*"),
            "https://a/*",
            "a b",
        ];
        for text in texts {
            assert!(text.parse::<Images>().is_err(), "{text}");
        }
    }
}
