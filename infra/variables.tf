# --- location and names ---------------------------------------------------------------------------

variable "subscription_id" {
  type        = string
  default     = null
  description = "Azure subscription. By default ARM_SUBSCRIPTION_ID or, without it, the Azure CLI's current subscription."

  validation {
    condition     = var.subscription_id == null || can(regex(local.guid, var.subscription_id))
    error_message = "subscription_id must be a GUID."
  }
}

variable "location" {
  type        = string
  default     = "swedencentral"
  nullable    = false
  description = "Azure region of all resources. Not every subscription may create SQL servers in every region (infra/README.md)."

  validation {
    condition     = can(regex("^[a-z0-9]+$", var.location))
    error_message = "location must be the short name of a region, such as swedencentral."
  }
}

variable "name" {
  type        = string
  default     = "dataplayground"
  nullable    = false
  description = "Prefix of all names; six random characters follow."

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{2,15}$", var.name))
    error_message = "name must be 3 to 16 lower-case letters and digits, starting with a letter (storage accounts allow nothing else)."
  }
}

variable "resource_group_name" {
  type        = string
  default     = null
  description = "An existing resource group to use. By default a new one is created."

  validation {
    condition     = var.resource_group_name == null || can(regex("^[-\\w._()]{0,89}[-\\w_()]$", var.resource_group_name))
    error_message = "resource_group_name must be the name of a resource group, not its id."
  }
}

variable "tags" {
  type        = map(string)
  default     = {}
  nullable    = false
  description = "Tags of all resources."

  validation {
    condition     = length(var.tags) <= 45
    error_message = "tags: at most 45 (Azure allows 50 per resource, some of them for its own use)."
  }
}

# --- signing in and access ------------------------------------------------------------------------

variable "sign_in" {
  type        = string
  default     = "identity"
  nullable    = false
  description = "`identity`: a managed identity and no secrets; the deployer needs the right to assign roles. `keys`: a SAS, an SQL password and connection strings, kept in secure environment variables and in the Terraform state."

  validation {
    condition     = contains(["identity", "keys"], var.sign_in)
    error_message = "sign_in must be identity or keys."
  }
}

variable "deployer_reads" {
  type        = bool
  default     = true
  nullable    = false
  description = "With sign_in = identity: the account that runs Terraform may read files, events and orders."
}

variable "readers" {
  type = map(object({
    object_id = string
    kind      = optional(string, "user")
    client_id = optional(string)
  }))
  default     = {}
  nullable    = false
  description = "With sign_in = identity: further users, groups and applications that may read files, events and orders, by the name that they get as users of the database. `kind` is user, group or application; an application also needs its `client_id`."

  validation {
    condition = alltrue([
      for reader in var.readers : can(regex(local.guid, reader.object_id)) && contains(["user", "group", "application"], reader.kind)
    ])
    error_message = "readers: each object_id must be a GUID, and kind must be user, group or application."
  }

  validation {
    condition = alltrue([
      for reader in var.readers : (reader.kind == "application") == can(regex(local.guid, reader.client_id))
    ])
    error_message = "readers: an application needs its client_id, a GUID; users and groups have none."
  }

  validation {
    condition     = alltrue([for name in keys(var.readers) : can(regex("^[^;\\[\\]]{1,128}$", name)) && name != "deployer"])
    error_message = "readers: a name must have 1 to 128 characters without ; [ and ], and must not be \"deployer\"."
  }
}

variable "sas_days" {
  type        = number
  default     = 30
  nullable    = false
  description = "With sign_in = keys: days until the SAS expires. Renew it with `terraform apply -replace='time_static.sas[0]'`."
}

variable "sql_allowed_ips" {
  type        = map(string)
  default     = {}
  nullable    = false
  description = "IPv4 addresses that may reach the SQL server in addition to Azure itself, by a name for each rule, e.g. { home = \"203.0.113.7\" }."

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
  description = "With sign_in = identity: the Entra administrator of the SQL server if it should not be the generators' identity itself, e.g. a group that this identity is a member of (infra/README.md)."

  validation {
    condition     = var.sql_administrator == null || can(regex(local.guid, var.sql_administrator.object_id))
    error_message = "sql_administrator.object_id must be a GUID."
  }
}

variable "sql_administrator_id" {
  type        = string
  default     = "principal"
  nullable    = false
  description = "With sign_in = identity: the id by which the generators' identity becomes the SQL server's administrator, `principal` or `client`. Microsoft's documentation names both; try the other one if gen-orders reports error 18456."

  validation {
    condition     = contains(["principal", "client"], var.sql_administrator_id)
    error_message = "sql_administrator_id must be principal or client."
  }
}

variable "kubernetes_issuer" {
  type        = string
  default     = null
  description = "With sign_in = identity: OIDC issuer URL of a Kubernetes cluster whose service account `generators` in the namespace `dataplayground` (infra/kubernetes) may sign in as the generators' identity."

  validation {
    condition     = var.kubernetes_issuer == null || can(regex("^https://", var.kubernetes_issuer))
    error_message = "kubernetes_issuer must be an https:// URL."
  }
}

variable "lake_api" {
  type        = string
  default     = "blob"
  nullable    = false
  description = "The API that writes users and products: `blob` (Blob API, one call per product) or `dfs` (Data Lake API: create, append, flush, rename)."

  validation {
    condition     = contains(["blob", "dfs"], var.lake_api)
    error_message = "lake_api must be blob or dfs."
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
  default     = "0.1.0"
  nullable    = false
  description = "Tag of the images: a version such as 0.1.0, latest, or sha-<commit>."

  validation {
    condition     = can(regex("^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$", var.image_tag))
    error_message = "image_tag must be a valid image tag."
  }
}

variable "check_images" {
  type        = bool
  default     = true
  nullable    = false
  description = "Check in the plan that the images can be pulled without signing in. Only turn it off where ghcr.io cannot be reached from the machine that runs Terraform."
}

# --- how much data --------------------------------------------------------------------------------

variable "users_count" {
  type        = number
  default     = 1000000
  nullable    = false
  description = "Number of users."
}

variable "vip_count" {
  type        = number
  default     = 10000
  nullable    = false
  description = "Number of VIP users among them; all users if there are fewer."
}

variable "products_count" {
  type        = number
  default     = 1000
  nullable    = false
  description = "Number of products, one file each (each costs a write operation)."
}

variable "orders_count" {
  type        = number
  default     = 10000000
  nullable    = false
  description = "Number of orders, with 1 to 10 items each."
}

variable "seed" {
  type        = string
  default     = null
  description = "The same seed generates the same data. By default 0 for users, products and orders, and random for the stream."

  validation {
    condition     = var.seed == null || try(can(regex("^(0|[1-9][0-9]{0,19})$", var.seed)) && tonumber(var.seed) <= 18446744073709551615, false)
    error_message = "seed must be a whole number, 0 to 18446744073709551615."
  }
}

variable "products_rate" {
  type        = number
  default     = null
  description = "Products per second and shard; unset, as fast as the lake accepts them."
}

variable "orders_rate" {
  type        = number
  default     = null
  description = "Orders per second and shard; unset, as fast as the database accepts them."
}

variable "order_dates" {
  type = object({
    from = string
    to   = string
  })
  default     = null
  description = "Half-open range of order dates, YYYY-MM-DD. By default from 1 January ten years before the current year to the day of the first apply."

  validation {
    condition = var.order_dates == null || try(
      timecmp("${var.order_dates.from}T00:00:00Z", "${var.order_dates.to}T00:00:00Z") < 0 &&
      timecmp("${var.order_dates.from}T00:00:00Z", "1753-01-01T00:00:00Z") >= 0, false
    )
    error_message = "order_dates must be two dates, YYYY-MM-DD, from before to, 1753-01-01 (the first date of SQL Server's datetime) to 9999-12-31."
  }
}

variable "session_pause" {
  type = object({
    mean   = optional(number)
    stddev = optional(number)
  })
  default     = {}
  nullable    = false
  description = "Seconds between the stream's sessions, 10 and 5 by default; a mean of 0 makes the stream a load generator."

  validation {
    condition     = alltrue([for seconds in values(var.session_pause) : seconds == null || try(seconds >= 0 && seconds <= 86400, false)])
    error_message = "session_pause: mean and stddev must be 0 to 86400."
  }
}

variable "concurrent_users" {
  type        = number
  default     = null
  description = "Independent sources of the stream's sessions, which all containers share: they set the rate, stream_shards sets the capacity. By default 1, or stream_shards if that is more."
}

variable "settings" {
  type        = map(map(string))
  default     = {}
  nullable    = false
  description = "Further environment variables per generator, as its --help lists them, e.g. { stream-pageviews = { METRICS_ADDR = \"0.0.0.0:9464\" } }. They override those that other variables set and are checked by the generator itself."

  validation {
    condition     = alltrue([for generator in keys(var.settings) : contains(keys(local.shards), generator)])
    error_message = "settings must be given by the names gen-users, gen-products, gen-orders and stream-pageviews."
  }
}

# --- how many containers, and how large -----------------------------------------------------------

variable "users_shards" {
  type        = number
  default     = 1
  nullable    = false
  description = "Containers that share the users; 0 generates none. More than one write users-00000-of-0000n.json and so on instead of users.json."
}

variable "products_shards" {
  type        = number
  default     = 1
  nullable    = false
  description = "Containers that share the products; 0 generates none."
}

variable "orders_shards" {
  type        = number
  default     = 1
  nullable    = false
  description = "Containers that share the orders; 0 generates none."
}

variable "stream_shards" {
  type        = number
  default     = 1
  nullable    = false
  description = "Containers that share the stream; 0 streams nothing."
}

variable "shards_per_group" {
  type        = number
  default     = 4
  nullable    = false
  description = "Containers per container group. A group of more than 4 vCPUs may exceed what a region has available."

  validation {
    condition     = var.shards_per_group * max(var.cpu, var.stream_cpu) <= 31 && var.shards_per_group * var.memory <= 240
    error_message = "shards_per_group: a container group may have at most 31 vCPUs and 240 GB of memory."
  }
}

variable "quota" {
  type        = number
  default     = 100
  nullable    = false
  description = "What the subscription may use in the region: container groups, and as many vCPUs in them (PowerShell: Get-AzContainerInstanceUsage -Location REGION)."
}

variable "cpu" {
  type        = number
  default     = 1
  nullable    = false
  description = "vCPUs per container of gen-users, gen-products and gen-orders."

  validation {
    condition     = var.cpu >= 0.1 && var.cpu <= 31
    error_message = "cpu must be 0.1 to 31."
  }
}

variable "stream_cpu" {
  type        = number
  default     = 0.25
  nullable    = false
  description = "vCPUs per container of stream-pageviews. The default is enough for some ten thousand messages per second."

  validation {
    condition     = var.stream_cpu >= 0.1 && var.stream_cpu <= 31
    error_message = "stream_cpu must be 0.1 to 31."
  }
}

variable "memory" {
  type        = number
  default     = 0.5
  nullable    = false
  description = "GB of memory per container. What a generator needs does not grow with the counts; containers of the stream get more if concurrent_users and session_pause require it."

  validation {
    condition     = var.memory >= 0.3 && var.memory <= 240
    error_message = "memory must be 0.3 to 240 GB."
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
    error_message = "log_filter must be LEVEL or MODULE=LEVEL, or several separated by commas; levels are off, error, warn, info, debug and trace."
  }
}

# --- the destinations -----------------------------------------------------------------------------

variable "storage_replication" {
  type        = string
  default     = "LRS"
  nullable    = false
  description = "Replication of the storage account. The data can be generated again at any time, so LRS is enough."

  validation {
    condition     = contains(["LRS", "ZRS", "GRS", "RAGRS", "GZRS", "RAGZRS"], var.storage_replication)
    error_message = "storage_replication must be LRS, ZRS, GRS, RAGRS, GZRS or RAGZRS."
  }
}

variable "eventhubs_capacity" {
  type        = number
  default     = 1
  nullable    = false
  description = "Throughput units of the Event Hubs namespace: each takes in 1 MB or 1000 events per second."
}

variable "pageviews_partitions" {
  type        = number
  default     = 4
  nullable    = false
  description = "Partitions of the hub pageviews (they cannot be changed later)."
}

variable "sql_sku" {
  type        = string
  default     = "GP_S_Gen5_2"
  nullable    = false
  description = "SKU of the database: serverless, which pauses 15 minutes after its last use."

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
}
