//! Opens a storage account via one of its two APIs, and signs in if there is no SAS.

use std::sync::Arc;

use super::blob::BlobLake;
use super::config::{Account, Api};
use super::dfs::DfsLake;
use super::{Lake, Writer};
use datagen_azure::entra::EntraCredential;
use datagen_azure::http::is_loopback;
use datagen_process::error::DestinationError;

/// Opens the account. No request is sent yet: the first write shows whether the account exists and grants access.
///
/// # Errors
/// If there is a SAS that cannot be read, or if there is neither a SAS nor a way to sign in.
pub(super) async fn open(account: &Account, writer: Writer) -> Result<Arc<dyn Lake>, DestinationError> {
    let credential = match account.sas {
        Some(_) => None,
        None => Some(sign_in(account).await?),
    };
    Ok(match account.api {
        Api::Blob => Arc::new(BlobLake::new(account.clone(), credential)),
        Api::Dfs => Arc::new(DfsLake::new(account.clone(), credential, writer)?),
    })
}

async fn sign_in(account: &Account) -> Result<EntraCredential, DestinationError> {
    // The SDK of the Blob API sends no token over plain http, not even to this machine.
    let may_be_plain = is_loopback(&account.service) && account.api == Api::Dfs;
    if account.service.scheme() != "https" && !may_be_plain {
        return Err(DestinationError::permanent(
            account.to_string(),
            "a token of Microsoft Entra ID must not be sent over plain http",
        )
        .advise("use https, or a URL with a SAS in STORAGE_SAS"));
    }
    EntraCredential::from_env()
        .await
        .map_err(|error| DestinationError::permanent(account.to_string(), error.to_string()).caused_by(error))
}
