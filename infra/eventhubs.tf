# The Event Hubs namespace with the hubs `pageviews` and `stars`. The generator uses the Kafka protocol.

resource "azurerm_eventhub_namespace" "playground" {
  name                = local.unique_name
  location            = var.location
  resource_group_name = local.resource_group_name
  # Basic has no Kafka endpoint.
  sku      = "Standard"
  capacity = var.eventhubs_capacity

  minimum_tls_version          = "1.2"
  local_authentication_enabled = local.keys

  tags = var.tags
}

# Event Hubs replaces the messages' timestamps with the time of arrival: azurerm has no argument for the timestamp type
# (messageTimestampDescription is in preview APIs only). Consumers use the field event_time.
resource "azurerm_eventhub" "hub" {
  for_each = {
    pageviews = var.pageviews_partitions
    stars     = 1
  }

  name              = each.key
  namespace_id      = azurerm_eventhub_namespace.playground.id
  partition_count   = each.value
  message_retention = 1
}

# --- sign_in = "keys": a send-only rule for each hub ------------------------------------------------

resource "azurerm_eventhub_authorization_rule" "send" {
  for_each = { for name, hub in azurerm_eventhub.hub : name => hub if local.keys }

  name                = "stream-pageviews"
  eventhub_name       = each.value.name
  namespace_name      = azurerm_eventhub_namespace.playground.name
  resource_group_name = local.resource_group_name

  send   = true
  listen = false
  manage = false
}
