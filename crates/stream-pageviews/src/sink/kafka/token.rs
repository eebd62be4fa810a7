//! Bearer tokens for SASL OAUTHBEARER, from wherever they come.

use async_trait::async_trait;
use datagen_azure::entra::{AccessToken, EntraCredential};

/// A source of access tokens. librdkafka asks again when 80 % of a token's life is over.
#[async_trait]
pub trait TokenSource: Send + Sync {
    /// A token that is good now.
    ///
    /// # Errors
    /// One line that says why there is none; it must not contain secrets.
    async fn token(&self) -> Result<AccessToken, String>;
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
    async fn token(&self) -> Result<AccessToken, String> {
        self.credential
            .token(&self.scope)
            .await
            .map_err(|error| error.to_string())
    }
}
