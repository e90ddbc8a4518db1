#include "app/web/asset.h"

#include <string.h>

#include "app/assets_table.h"
#include "app/web/http.h"
#include "base/scope.h"

bool
asset_answer(const struct http_request *request, struct http_reply *reply)
{
	const struct asset *asset = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(asset_table) && asset == NULL; i++) {
		if (strcmp(asset_table[i].path, request->path) == 0)
			asset = &asset_table[i];
	}
	if (asset == NULL)
		return false;
	reply->cache = asset->is_immutable ? "public, max-age=31536000, immutable" : "no-cache";
	reply->type = asset->type;
	http_add_header(reply, "Vary", "Accept-Encoding");
	if (http_reply_is_known(request, reply, asset->etag))
		return true;
	reply->fixed = asset->plain;
	reply->fixed_size = asset->plain_size;
	if (http_takes_gzip(request)) {
		http_add_header(reply, "Content-Encoding", "gzip");
		reply->fixed = asset->gzip;
		reply->fixed_size = asset->gzip_size;
	}

	return true;
}
