# --- where and what it is called ------------------------------------------------------------------

variable "subscription_id" {
  type        = string
  default     = null
  description = "Azure subscription. By default the one that `az login` chose; ARM_SUBSCRIPTION_ID is not consulted (use TF_VAR_subscription_id)."

  validation {
    condition     = var.subscription_id == null || can(regex("^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", var.subscription_id))
    error_message = "subscription_id must be a GUID."
  }
}

variable "location" {
  type        = string
  default     = "westeurope"
  nullable    = false
  description = "Azure region of everything."

  validation {
    condition     = can(regex("^[a-z0-9]+$", var.location))
    error_message = "location must be a region's short name, such as westeurope."
  }
}

variable "name" {
  type        = string
  default     = "dataplayground"
  nullable    = false
  description = "Names begin with it. Six random characters follow where a name must be unique in the world."

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{2,15}$", var.name))
    error_message = "name must be 3 to 16 lower-case letters and digits, a letter first (storage accounts allow nothing else)."
  }
}

variable "tags" {
  type        = map(string)
  default     = {}
  nullable    = false
  description = "Tags of every resource."

  validation {
    condition     = length(var.tags) <= 45
    error_message = "tags: at most 45 (Azure allows 50 a resource, some for its own use)."
  }
}

# --- how the generators sign in -------------------------------------------------------------------

variable "sign_in" {
  type        = string
  default     = "identity"
  nullable    = false
  description = "`identity`: a managed identity, no secret anywhere; needs the right to assign roles (Owner or User Access Administrator). `keys`: a SAS, an SQL password and connection strings, in secure environment variables and in the Terraform state."

  validation {
    condition     = contains(["identity", "keys"], var.sign_in)
    error_message = "sign_in must be identity or keys."
  }
}

variable "sas_days" {
  type        = number
  default     = 30
  nullable    = false
  description = "With sign_in = keys: days after which the SAS expires. Renewed by `terraform apply -replace='time_static.sas[0]'`."

  validation {
    condition     = var.sas_days >= 1 && var.sas_days <= 365 && floor(var.sas_days) == var.sas_days
    error_message = "sas_days must be a whole number, 1 to 365."
  }
}

variable "sql_allowed_ips" {
  type        = map(string)
  default     = {}
  nullable    = false
  description = "IPv4 addresses that may reach the SQL server besides Azure itself, by a name for each rule, e.g. { home = \"203.0.113.7\" }."

  validation {
    condition     = alltrue([for ip in values(var.sql_allowed_ips) : can(cidrhost("${ip}/32", 0))])
    error_message = "sql_allowed_ips must be IPv4 addresses."
  }
}

variable "sql_administrator" {
  type = object({
    login_name = string
    object_id  = string
  })
  default     = null
  description = "With sign_in = identity: the Entra administrator of the SQL server, if it should not be the generators' identity itself, e.g. you once the orders are loaded (output take_sql), or a group that both you and that identity are in (README)."

  validation {
    condition     = var.sql_administrator == null || can(regex("^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", var.sql_administrator.object_id))
    error_message = "sql_administrator.object_id must be a GUID."
  }
}

variable "lake_api" {
  type        = string
  default     = "blob"
  nullable    = false
  description = "The door of the Data Lake that users and products go through: `blob` (one call a product) or `dfs` (create, append, flush)."

  validation {
    condition     = contains(["blob", "dfs"], var.lake_api)
    error_message = "lake_api must be blob or dfs."
  }

  # The Data Lake API publishes by a rename, whose permission (move) azurerm's SAS cannot give.
  validation {
    condition     = var.lake_api != "dfs" || var.sign_in != "keys"
    error_message = "lake_api = dfs needs sign_in = identity: the SAS of sign_in = keys may not rename files."
  }
}

# --- which images ---------------------------------------------------------------------------------

variable "image_owner" {
  type        = string
  default     = "tkubica12"
  nullable    = false
  description = "Owner of the images: ghcr.io/OWNER/gen-users and so on."

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]*$", var.image_owner))
    error_message = "image_owner must be a GitHub owner in lower case."
  }
}

variable "image_tag" {
  type        = string
  default     = "latest"
  nullable    = false
  description = "Tag of the images: latest, a version such as 0.1.0, or sha-<commit>."

  validation {
    condition     = can(regex("^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$", var.image_tag))
    error_message = "image_tag must be a valid image tag."
  }
}

# --- how much data --------------------------------------------------------------------------------

variable "users_count" {
  type        = number
  default     = 1000000
  nullable    = false
  description = "Users."

  validation {
    condition     = var.users_count >= 1 && var.users_count <= 2147483648 && floor(var.users_count) == var.users_count
    error_message = "users_count must be a whole number, 1 (orders and pageviews refer to users) to 2147483648."
  }
}

variable "vip_count" {
  type        = number
  default     = 10000
  nullable    = false
  description = "VIP users among them; with fewer users than that, all of them."

  validation {
    condition     = var.vip_count >= 0 && var.vip_count <= 2147483648 && floor(var.vip_count) == var.vip_count
    error_message = "vip_count must be a whole number, 0 to 2147483648."
  }
}

variable "products_count" {
  type        = number
  default     = 100000
  nullable    = false
  description = "Products, a file each (each costs a write operation)."

  validation {
    condition     = var.products_count >= 1 && var.products_count <= 2147483648 && floor(var.products_count) == var.products_count
    error_message = "products_count must be a whole number, 1 (orders and pageviews refer to products) to 2147483648."
  }
}

variable "orders_count" {
  type        = number
  default     = 10000000
  nullable    = false
  description = "Orders, with 1 to 10 items each."

  validation {
    condition     = var.orders_count >= 0 && var.orders_count <= 2147483647 && floor(var.orders_count) == var.orders_count
    error_message = "orders_count must be a whole number, 0 to 2147483647."
  }
}

variable "seed" {
  type        = string
  default     = null
  description = "The same seed makes the same data. By default 0 for users, products and orders, random for the stream."

  # A string: Terraform's numbers are exact, but tools that pass variables on as JSON may not be.
  validation {
    condition     = var.seed == null || (can(regex("^(0|[1-9][0-9]*)$", var.seed)) && try(tonumber(var.seed) <= 18446744073709551615, false))
    error_message = "seed must be a whole number, 0 to 18446744073709551615."
  }
}

variable "products_rate" {
  type        = number
  default     = null
  description = "Products a second and shard; unset, as fast as the lake takes them."

  validation {
    condition     = var.products_rate == null || try(var.products_rate >= 1 && var.products_rate <= 1000000000 && floor(var.products_rate) == var.products_rate, false)
    error_message = "products_rate must be a whole number, 1 to 1000000000."
  }
}

variable "orders_rate" {
  type        = number
  default     = null
  description = "Orders a second and shard; unset, as fast as the database takes them."

  validation {
    condition     = var.orders_rate == null || try(var.orders_rate >= 1 && var.orders_rate <= 1000000000 && floor(var.orders_rate) == var.orders_rate, false)
    error_message = "orders_rate must be a whole number, 1 to 1000000000."
  }
}

variable "order_dates" {
  type = object({
    from = string
    to   = string
  })
  default     = null
  description = "Range of order dates, YYYY-MM-DD, half-open. By default the ten full calendar years before the current one."

  validation {
    condition = var.order_dates == null || try(
      timecmp("${var.order_dates.from}T00:00:00Z", "${var.order_dates.to}T00:00:00Z") < 0 &&
      timecmp("${var.order_dates.from}T00:00:00Z", "1753-01-01T00:00:00Z") >= 0, false
    )
    error_message = "order_dates must be two dates, YYYY-MM-DD, from before to, 1753-01-01 (as SQL Server's datetime) to 9999-12-31."
  }
}

variable "session_pause" {
  type = object({
    mean   = optional(number, 10)
    stddev = optional(number, 5)
  })
  default     = {}
  nullable    = false
  description = "Seconds between the stream's sessions; 0 and 0 make it a load generator."

  validation {
    condition     = alltrue([for seconds in values(var.session_pause) : seconds >= 0 && seconds <= 86400])
    error_message = "session_pause: mean and stddev must be 0 to 86400."
  }
}

variable "concurrent_users" {
  type        = number
  default     = 1
  nullable    = false
  description = "Visitors that the stream has in the shop at once, each pausing and visiting by themselves; in each shard."

  validation {
    condition     = var.concurrent_users >= 1 && var.concurrent_users <= 100000 && floor(var.concurrent_users) == var.concurrent_users
    error_message = "concurrent_users must be a whole number, 1 to 100000."
  }
}

# --- how many machines, and how large -------------------------------------------------------------

variable "users_shards" {
  type        = number
  default     = 1
  nullable    = false
  description = "Container groups that share the users among them. More than one write users-00000-of-0000n.json and so on instead of users.json."

  validation {
    condition     = var.users_shards >= 0 && var.users_shards <= 60 && floor(var.users_shards) == var.users_shards
    error_message = "users_shards must be a whole number, 0 (do not generate) to 60."
  }
}

variable "products_shards" {
  type        = number
  default     = 1
  nullable    = false
  description = "Container groups that share the products among them."

  validation {
    condition     = var.products_shards >= 0 && var.products_shards <= 60 && floor(var.products_shards) == var.products_shards
    error_message = "products_shards must be a whole number, 0 (do not generate) to 60."
  }
}

variable "orders_shards" {
  type        = number
  default     = 1
  nullable    = false
  description = "Container groups that share the orders among them."

  validation {
    condition     = var.orders_shards >= 0 && var.orders_shards <= 60 && floor(var.orders_shards) == var.orders_shards
    error_message = "orders_shards must be a whole number, 0 (do not generate) to 60."
  }
}

variable "stream_shards" {
  type        = number
  default     = 1
  nullable    = false
  description = "Container groups that stream, each its own sessions."

  validation {
    condition     = var.stream_shards >= 0 && var.stream_shards <= 60 && floor(var.stream_shards) == var.stream_shards
    error_message = "stream_shards must be a whole number, 0 (do not stream) to 60."
  }
}

variable "cpu" {
  type        = number
  default     = 1
  nullable    = false
  description = "vCPUs of a container group."

  validation {
    condition     = var.cpu >= 0.1 && var.cpu <= 4
    error_message = "cpu must be 0.1 to 4."
  }
}

variable "memory" {
  type        = number
  default     = 0.5
  nullable    = false
  description = "GB of memory of a container group. A generator's need does not grow with the counts."

  validation {
    condition     = var.memory >= 0.3 && var.memory <= 16
    error_message = "memory must be 0.3 to 16 GB."
  }
}

variable "log_format" {
  type        = string
  default     = null
  description = "`text` (the default) or `json`."

  validation {
    condition     = var.log_format == null || try(contains(["text", "json"], var.log_format), false)
    error_message = "log_format must be text or json."
  }
}

variable "log_filter" {
  type        = string
  default     = null
  description = "RUST_LOG of the generators, e.g. `debug` or `info,gen_users=debug`."

  validation {
    condition = var.log_filter == null || try(alltrue([
      for directive in split(",", var.log_filter) :
      can(regex("^([a-z0-9_:]+=)?(off|error|warn|info|debug|trace)$", directive))
    ]), false)
    error_message = "log_filter must be LEVEL or MODULE=LEVEL, or several with commas between; levels are off, error, warn, info, debug and trace."
  }
}

# --- what is written to ---------------------------------------------------------------------------

variable "storage_replication" {
  type        = string
  default     = "LRS"
  nullable    = false
  description = "Replication of the storage account. The data can be made again at any time: LRS is enough."

  validation {
    condition     = contains(["LRS", "ZRS", "GRS", "RAGRS", "GZRS", "RAGZRS"], var.storage_replication)
    error_message = "storage_replication must be LRS, ZRS, GRS, RAGRS, GZRS or RAGZRS."
  }
}

variable "eventhubs_capacity" {
  type        = number
  default     = 1
  nullable    = false
  description = "Throughput units of the Event Hubs namespace: 1 MB/s or 1000 messages/s in, each."

  validation {
    condition     = var.eventhubs_capacity >= 1 && var.eventhubs_capacity <= 40 && floor(var.eventhubs_capacity) == var.eventhubs_capacity
    error_message = "eventhubs_capacity must be a whole number, 1 to 40."
  }
}

variable "pageviews_partitions" {
  type        = number
  default     = 4
  nullable    = false
  description = "Partitions of the hub pageviews (it cannot be changed later)."

  validation {
    condition     = var.pageviews_partitions >= 1 && var.pageviews_partitions <= 32 && floor(var.pageviews_partitions) == var.pageviews_partitions
    error_message = "pageviews_partitions must be a whole number, 1 to 32."
  }
}

variable "sql_sku" {
  type        = string
  default     = "GP_S_Gen5_2"
  nullable    = false
  description = "SKU of the database; GP_S_* is serverless: it pauses when nobody uses it."

  validation {
    condition     = can(regex("^GP_S_Gen5_(1|2|4|6|8|10|12|14|16|18|20|24|32|40)$", var.sql_sku))
    error_message = "sql_sku must be a serverless SKU, GP_S_Gen5_1 to GP_S_Gen5_40."
  }
}

variable "sql_max_size_gb" {
  type        = number
  default     = 32
  nullable    = false
  description = "Size limit of the database in GB."

  validation {
    condition     = var.sql_max_size_gb >= 1 && var.sql_max_size_gb <= 4096 && floor(var.sql_max_size_gb) == var.sql_max_size_gb
    error_message = "sql_max_size_gb must be a whole number, 1 to 4096."
  }
}
