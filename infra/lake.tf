# The Data Lake: a storage account with hierarchical namespace and the filesystem `bronze`.

resource "azurerm_storage_account" "lake" {
  #checkov:skip=CKV_AZURE_59:The containers and the notebooks that read the data have no fixed network; access needs Entra ID or a SAS
  #checkov:skip=CKV2_AZURE_33:As above, a private endpoint would need a virtual network around everything that reads the data
  #checkov:skip=CKV_AZURE_206:The data can be generated again at any time; var.storage_replication changes it
  #checkov:skip=CKV_AZURE_33:No queue is used
  #checkov:skip=CKV2_AZURE_38:Deleted data can be generated again; soft delete would continue to cost
  #checkov:skip=CKV2_AZURE_1:Synthetic data; the platform's keys encrypt it

  name                     = local.unique_name
  location                 = var.location
  resource_group_name      = local.resource_group_name
  account_kind             = "StorageV2"
  account_tier             = "Standard"
  account_replication_type = var.storage_replication
  is_hns_enabled           = true

  min_tls_version                 = "TLS1_2"
  https_traffic_only_enabled      = true
  allow_nested_items_to_be_public = false
  # A SAS is signed with a shared key: without shared keys the account refuses both.
  shared_access_key_enabled       = local.keys
  default_to_oauth_authentication = true
  local_user_enabled              = false

  tags = var.tags
}

# The filesystem, created as a container through Azure Resource Manager: azurerm's filesystem resource
# calls the data plane, on which the deployer may have no rights.
resource "azurerm_storage_container" "bronze" {
  #checkov:skip=CKV2_AZURE_21:Synthetic data; reads need no log

  name                  = "bronze"
  storage_account_id    = azurerm_storage_account.lake.id
  container_access_type = "private"
}

locals {
  filesystem_id = "${azurerm_storage_account.lake.id}/blobServices/default/containers/${azurerm_storage_container.bronze.name}"

  lake_endpoint = {
    blob = azurerm_storage_account.lake.primary_blob_endpoint
    dfs  = azurerm_storage_account.lake.primary_dfs_endpoint
  }[var.lake_api]
  # The endpoint ends with a slash.
  lake_url = "${local.lake_endpoint}${azurerm_storage_container.bronze.name}/"
}

# --- sign_in = "keys": a SAS for the container ----------------------------------------------------

resource "time_static" "sas" {
  count = local.keys ? 1 : 0
}

data "azurerm_storage_account_blob_container_sas" "bronze" {
  count = local.keys ? 1 : 0

  connection_string = azurerm_storage_account.lake.primary_connection_string
  container_name    = azurerm_storage_container.bronze.name
  https_only        = true

  # The start is in the past, because the clock of the machine that runs Terraform may be fast.
  start  = timeadd(time_static.sas[0].rfc3339, "-15m")
  expiry = timeadd(time_static.sas[0].rfc3339, "${var.sas_days * 24}h")

  permissions {
    read   = true
    add    = true
    create = true
    write  = true
    delete = true
    list   = true
    # The Data Lake API publishes files by renaming them.
    move = true
  }
}

locals {
  storage_sas = local.keys ? "${local.lake_url}?${trimprefix(data.azurerm_storage_account_blob_container_sas.bronze[0].sas, "?")}" : null
}
