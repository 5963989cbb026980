// Photos: a Node service that asks nobody about a token. It has the issuer's public keys, which it fetches once a minute,
// and the Token Status Lists, which it fetches when they are older than their ttl. It knows no secret and no Redis.
import { createServer } from 'node:http';
import { StatusList } from '@sd-jwt/jwt-status-list';
import { createRemoteJWKSet, errors, jwtVerify } from 'jose';

const { ISSUER, PORT } = process.env;
if (!ISSUER || !PORT) throw new Error('ISSUER and PORT are needed in the environment.');
const LISTS = `${ISSUER}/status/`;
const ALGORITHMS = ['ES256'];
// Milliseconds: to wait for an answer, and the longest for which a list is kept, whatever its ttl says.
const PATIENCE = 2_000;
const KEEP_LIST = 60_000;

const published = createRemoteJWKSet(new URL(`${ISSUER}/auth/jwks/`), {
  // A key that leaked is believed for that long.
  cacheMaxAge: 60_000,
  // One whose name is new is looked for at once, but no more often than that: anybody can make names up.
  cooldownDuration: 5_000,
  timeoutDuration: PATIENCE,
});

class Refused extends Error {} // 401: the client gets another token, or signs in
class Unknown extends Error {} // 503: the client keeps its token, and comes again

async function keyFor(header, token) {
  try {
    return await published(header, token);
  } catch (error) {
    const named = error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys;
    throw named ? error : new Unknown(`the keys: ${error.message}`);
  }
}

// Section 8.3 of the specification, behind the signature of the token that names the list.
async function fetchList(uri) {
  const headers = { accept: 'application/statuslist+jwt' };
  const answer = await fetch(uri, { headers, redirect: 'error', signal: AbortSignal.timeout(PATIENCE) });
  if (answer.status !== 200) throw new Error(`HTTP ${answer.status}`);
  const { payload } = await jwtVerify(await answer.text(), keyFor, {
    algorithms: ALGORITHMS, issuer: ISSUER, subject: uri, typ: 'statuslist+jwt', requiredClaims: ['exp', 'iat'],
  });
  const { bits, lst } = payload.status_list;
  return { list: StatusList.decompressStatusList(lst, bits), ttl: payload.ttl > 0 ? payload.ttl * 1000 : 0 };
}

const lists = new Map(); // by URI: a promise of the list, and until when it counts

function listAt(uri) {
  const now = performance.now();
  const known = lists.get(uri);
  if (known && now < known.until) return known.list;
  for (const [name, { until }] of lists) if (until <= now) lists.delete(name);
  // Those who come meanwhile wait for the same answer. The ttl counts from before the question.
  const entry = { until: now + PATIENCE };
  entry.list = fetchList(uri).then(
    ({ list, ttl }) => ((entry.until = now + Math.min(ttl, KEEP_LIST)), list),
    (error) => {
      entry.until = 0;
      throw new Unknown(`${uri}: ${error.message}`);
    },
  );
  lists.set(uri, entry);
  return entry.list;
}

async function userOf(request) {
  const [, token] = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '') ?? [];
  if (!token) throw new Refused('Send an access token.');
  const options = { algorithms: ALGORITHMS, issuer: ISSUER, typ: 'JWT', requiredClaims: ['exp', 'user_id'] };
  const { payload } = await jwtVerify(token, keyFor, options);
  if (payload.token_type !== 'access') throw new Refused('This is no access token.');
  const { uri, idx } = payload.status?.status_list ?? {};
  // From before the issuer published lists. Nobody but the issuer is asked.
  if (typeof uri !== 'string' || !uri.startsWith(LISTS)) throw new Refused('This token has no status list of ours.');
  const list = await listAt(uri);
  if (!Number.isInteger(idx) || idx < 0 || idx >= list.totalStatuses) throw new Refused('The list has no such place.');
  if (list.getStatus(idx) !== 0) throw new Refused('This session is over.');
  return String(payload.user_id);
}

const server = createServer(async (request, response) => {
  const answer = (status, body, headers = {}) =>
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
  try {
    answer(200, { service: 'photos', user: await userOf(request) });
  } catch (error) {
    if (error instanceof Refused || error instanceof errors.JOSEError) {
      answer(401, { detail: error.message }, { 'www-authenticate': 'Bearer error="invalid_token"' });
    } else {
      console.warn(error instanceof Unknown ? `The issuer does not say: ${error.message}` : error);
      answer(503, { detail: 'Nobody can say whether this token is good.' }, { 'retry-after': '1' });
    }
  }
});
server.listen(Number(PORT), '127.0.0.1');
