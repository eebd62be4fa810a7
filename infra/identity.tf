# With sign_in = "identity": the identity with which the generators sign in, and the users, groups and
# applications that may read the results.

resource "azurerm_user_assigned_identity" "generators" {
  count = local.identity ? 1 : 0

  name                = "${local.unique_name}-generators"
  location            = var.location
  resource_group_name = local.resource_group_name
  tags                = var.tags
}

resource "azurerm_role_assignment" "lake" {
  count = local.identity ? 1 : 0

  description          = "gen-users and gen-products write files"
  scope                = local.filesystem_id
  role_definition_name = "Storage Blob Data Contributor"
  principal_id         = azurerm_user_assigned_identity.generators[0].principal_id
  principal_type       = "ServicePrincipal"
}

# The scope is the namespace and not each hub: the idempotent producer's InitProducerId belongs to no hub.
resource "azurerm_role_assignment" "eventhubs" {
  count = local.identity ? 1 : 0

  description          = "stream-pageviews sends pageviews and stars"
  scope                = azurerm_eventhub_namespace.playground.id
  role_definition_name = "Azure Event Hubs Data Sender"
  principal_id         = azurerm_user_assigned_identity.generators[0].principal_id
  principal_type       = "ServicePrincipal"
}

# Role assignments take minutes to reach the services. gen-users and gen-products wait for their roles.
# stream-pageviews does not and would be restarted in the meantime; this pause makes that unlikely.
resource "time_sleep" "role_assignments" {
  count = local.identity ? 1 : 0

  create_duration = "60s"

  depends_on = [azurerm_role_assignment.lake, azurerm_role_assignment.eventhubs]
}

# --- readers --------------------------------------------------------------------------------------

locals {
  # The client id of the Azure CLI, which signs in on behalf of a person; any other client id is that of
  # the application that deploys.
  # https://learn.microsoft.com/troubleshoot/entra/entra-id/governance/verify-first-party-apps-sign-in
  azure_cli_client_id = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"

  deployer = {
    object_id = data.azurerm_client_config.current.object_id
    kind      = data.azurerm_client_config.current.client_id == local.azure_cli_client_id ? "user" : "application"
    client_id = data.azurerm_client_config.current.client_id
  }
  # A deployer that is also named in var.readers is not granted the same roles twice.
  deployer_is_named = contains([for reader in var.readers : lower(reader.object_id)], lower(local.deployer.object_id))

  readers = local.identity ? merge(
    var.readers,
    { for name in ["deployer"] : name => local.deployer if var.deployer_reads && !local.deployer_is_named },
  ) : {}

  # Azure looks up the deployer itself: the Azure CLI may also be signed in as an application.
  principal_types = {
    for name, reader in local.readers :
    name => name == "deployer" ? null : { user = "User", group = "Group", application = "ServicePrincipal" }[reader.kind]
  }

  # KIND:ID:NAME;… as gen-orders expects it. SQL identifies applications by their client id, users and
  # groups by their object id.
  sql_readers = length(local.readers) == 0 ? null : join(";", [
    for name, reader in local.readers :
    "${reader.kind}:${lower(reader.kind == "application" ? reader.client_id : reader.object_id)}:${name}"
  ])
}

resource "azurerm_role_assignment" "lake_reader" {
  for_each = local.readers

  description          = "Reads users, VIP users and products"
  scope                = local.filesystem_id
  role_definition_name = "Storage Blob Data Reader"
  principal_id         = each.value.object_id
  principal_type       = local.principal_types[each.key]
}

resource "azurerm_role_assignment" "eventhubs_reader" {
  for_each = local.readers

  description          = "Reads pageviews and stars"
  scope                = azurerm_eventhub_namespace.playground.id
  role_definition_name = "Azure Event Hubs Data Receiver"
  principal_id         = each.value.object_id
  principal_type       = local.principal_types[each.key]
}

# --- Kubernetes -----------------------------------------------------------------------------------

# Lets the service account of infra/kubernetes sign in as the generators' identity.
resource "azurerm_federated_identity_credential" "kubernetes" {
  count = local.identity && var.kubernetes_issuer != null ? 1 : 0

  name                      = "kubernetes"
  user_assigned_identity_id = azurerm_user_assigned_identity.generators[0].id
  issuer                    = var.kubernetes_issuer
  subject                   = "system:serviceaccount:dataplayground:generators"
  audience                  = ["api://AzureADTokenExchange"]
}
