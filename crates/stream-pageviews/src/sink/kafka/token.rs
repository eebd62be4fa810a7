//! Bearer tokens for SASL OAUTHBEARER.

use std::error::Error;

use async_trait::async_trait;
use datagen_azure::entra::{AccessToken, EntraCredential};

/// Why there is no token; the text contains no secrets.
pub type TokenError = Box<dyn Error + Send + Sync>;

/// A source of access tokens. librdkafka asks again when 80 % of a token's life is over.
#[async_trait]
pub trait TokenSource: Send + Sync {
    /// A token that is valid now.
    ///
    /// # Errors
    /// If nothing can be signed in.
    async fn token(&self) -> Result<AccessToken, TokenError>;
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
    async fn token(&self) -> Result<AccessToken, TokenError> {
        Ok(self.credential.token(&self.scope).await?)
    }
}
