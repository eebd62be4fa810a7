# Checks that the images can be pulled without signing in. A container group whose image cannot be pulled
# fails at the very end of `terraform apply`, after everything that costs money has been created; this
# check fails in the plan, before anything is created.

locals {
  checked_images = var.check_images ? local.started_generators : toset([])

  # The types that a container engine accepts: an image for one platform or an index of several.
  manifest_types = join(", ", [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
  ])
}

# The registry issues tokens to anonymous clients only for public packages.
data "http" "image_token" {
  for_each = local.checked_images

  url                = "https://ghcr.io/token?service=ghcr.io&scope=repository:${var.image_owner}/${each.key}:pull"
  request_timeout_ms = 20000
}

data "http" "image" {
  for_each = local.checked_images

  url                = "https://ghcr.io/v2/${var.image_owner}/${each.key}/manifests/${var.image_tag}"
  method             = "HEAD"
  request_timeout_ms = 20000

  request_headers = {
    Accept        = local.manifest_types
    Authorization = "Bearer ${try(jsondecode(data.http.image_token[each.key].response_body).token, "")}"
  }

  lifecycle {
    postcondition {
      condition     = self.status_code == 200
      error_message = "ghcr.io/${var.image_owner}/${each.key}:${var.image_tag} cannot be pulled without signing in (HTTP ${self.status_code}). Check image_owner and image_tag, publish the images and make the packages public (images/README.md). Nothing has been changed in Azure."
    }
  }
}
