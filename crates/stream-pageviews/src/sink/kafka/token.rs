//! Bearer tokens for SASL OAUTHBEARER, from wherever they come.

use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;
use datagen_core::entra::EntraCredential;

/// A source of access tokens. librdkafka asks again when 80 % of a token's life is over.
#[async_trait]
pub trait TokenSource: Send + Sync {
    /// A token that is good now.
    ///
    /// # Errors
    /// One line that says why there is none; it must not contain secrets.
    async fn token(&self) -> Result<BearerToken, String>;
}

/// An access token and its end.
#[derive(Clone)]
pub struct BearerToken {
    /// What is sent to the broker. It must not be printed.
    pub secret: String,
    /// When the broker stops taking it.
    pub expires_on: SystemTime,
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerToken")
            .field("expires_on", &self.expires_on)
            .finish_non_exhaustive()
    }
}

/// Tokens of Microsoft Entra ID for one scope.
#[derive(Debug)]
pub struct EntraTokens {
    credential: EntraCredential,
    scope: String,
}

impl EntraTokens {
    /// Tokens of `credential` for `scope`.
    pub fn new(credential: EntraCredential, scope: String) -> Self {
        Self { credential, scope }
    }
}

#[async_trait]
impl TokenSource for EntraTokens {
    async fn token(&self) -> Result<BearerToken, String> {
        let token = self
            .credential
            .token(&self.scope)
            .await
            .map_err(|error| error.to_string())?;
        Ok(BearerToken {
            secret: token.secret().to_owned(),
            expires_on: token.expires_on(),
        })
    }
}
