//! Bearer tokens for SASL OAUTHBEARER.

use std::error::Error;

use async_trait::async_trait;
use datagen_azure::entra::{AccessToken, EntraCredential};

/// Why there is no token. The text contains no secrets.
pub type TokenError = Box<dyn Error + Send + Sync>;

/// A source of access tokens. librdkafka requests a new one when 80 % of a token's lifetime is over.
#[async_trait]
pub trait TokenSource: Send + Sync {
    /// Returns a token that is valid now.
    ///
    /// # Errors
    /// If no sign-in is possible.
    async fn token(&self) -> Result<AccessToken, TokenError>;
}

/// Tokens of Microsoft Entra ID for one scope.
#[derive(Debug)]
pub struct EntraTokens {
    credential: EntraCredential,
    scope: String,
}

impl EntraTokens {
    /// Creates a source of tokens that `credential` obtains for `scope`.
    pub fn new(credential: EntraCredential, scope: String) -> Self {
        Self { credential, scope }
    }
}

#[async_trait]
impl TokenSource for EntraTokens {
    async fn token(&self) -> Result<AccessToken, TokenError> {
        Ok(self.credential.token(&self.scope).await?)
    }
}
