# A data playground in Azure: a Data Lake, a SQL database and two event hubs, and the generators that
# fill them. What is written to is in lake.tf, sql.tf and eventhubs.tf, who writes in identity.tf, the
# containers in generators.tf.

locals {
  identity = var.sign_in == "identity"
  keys     = var.sign_in == "keys"

  # For names that must be unique in the world.
  unique_name = "${var.name}${random_string.suffix.result}"
}

resource "random_string" "suffix" {
  length  = 6
  upper   = false
  special = false
}

resource "azurerm_resource_group" "playground" {
  name     = var.name
  location = var.location
  tags     = var.tags
}
