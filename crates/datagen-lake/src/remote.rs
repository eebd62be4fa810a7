//! Opens a storage account: signs in where no SAS does, and picks the door.

use std::sync::Arc;

use url::Host;

use super::blob::BlobLake;
use super::config::{Account, Api};
use super::dfs::DfsLake;
use super::{Lake, Writer};
use datagen_azure::entra::EntraCredential;
use datagen_process::error::DestinationError;

/// Nothing is asked of the account yet: the first write finds out whether it is there and lets us in.
///
/// # Errors
/// If there is a SAS that cannot be read, or none and no way to sign in.
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
    let loopback = match account.service.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    // The Blob API's SDK refuses a token over plain HTTP even to this machine.
    let may_be_plain = loopback && account.api == Api::Dfs;
    if account.service.scheme() != "https" && !may_be_plain {
        return Err(DestinationError::permanent(
            account.to_string(),
            "a token of Entra ID must not be sent over plain http",
        )
        .advise("use https, or a URL with a SAS in STORAGE_SAS"));
    }
    EntraCredential::from_env()
        .await
        .map_err(|error| DestinationError::permanent(account.to_string(), error.to_string()))
}
