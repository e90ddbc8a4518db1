#include "app/web/asset.h"

#include <string.h>

#include "app/assets_table.h"
#include "app/web/reply.h"
#include "app/web/request.h"
#include "base/scope.h"

bool
asset_answer(const struct request *request, struct reply *reply)
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
	reply_add_header(reply, "Vary", "Accept-Encoding");
	if (reply_is_known(request, reply, asset->etag))
		return true;
	reply->fixed = asset->plain;
	reply->fixed_size = asset->plain_size;
	if (request_takes_gzip(request)) {
		reply_add_header(reply, "Content-Encoding", "gzip");
		reply->fixed = asset->gzip;
		reply->fixed_size = asset->gzip_size;
	}

	return true;
}
