# A data playground in Azure: a Data Lake, a SQL database and two event hubs, and the generators that
# fill them. The destinations are in lake.tf, sql.tf and eventhubs.tf, sign-in and access in identity.tf,
# the images in images.tf and the containers in generators.tf.

data "azurerm_client_config" "current" {}

locals {
  identity = var.sign_in == "identity"
  keys     = var.sign_in == "keys"

  # For names that must be unique globally, in a subscription or in a resource group.
  unique_name = "${var.name}${random_string.suffix.result}"

  resource_group_name = var.resource_group_name != null ? var.resource_group_name : azurerm_resource_group.playground[0].name
}

resource "random_string" "suffix" {
  length  = 6
  upper   = false
  special = false

  lifecycle {
    # Everything else depends on this resource, so nothing is created if one of these is wrong.
    precondition {
      condition     = length(local.errors) == 0
      error_message = join("\n", local.errors)
    }
  }
}

resource "azurerm_resource_group" "playground" {
  count = var.resource_group_name == null ? 1 : 0

  name     = local.unique_name
  location = var.location
  tags     = var.tags
}
