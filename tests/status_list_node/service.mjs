// A service in another language: it has the public key and nothing else of ours. It reads access tokens, one a line,
// and answers with the status of each: "0" VALID, "1" INVALID, or why there is none.
import { createInterface } from 'node:readline';
import { getListFromStatusListJWT, getStatusListFromJWT } from '@sd-jwt/jwt-status-list';
import { importSPKI, jwtVerify } from 'jose';

const key = await importSPKI(process.env.PUBLIC_KEY, 'ES256');

async function statusOf(token) {
  await jwtVerify(token, key, { algorithms: ['ES256'] });
  const { uri, idx } = getStatusListFromJWT(token);
  const answer = await fetch(uri, { headers: { accept: 'application/statuslist+jwt' } });
  if (answer.status !== 200) return `HTTP ${answer.status}`;
  if (answer.headers.get('content-type') !== 'application/statuslist+jwt') return 'content type';
  const list = await answer.text();
  await jwtVerify(list, key, { algorithms: ['ES256'], typ: 'statuslist+jwt', subject: uri });
  return String(getListFromStatusListJWT(list).getStatus(idx));
}

for await (const line of createInterface({ input: process.stdin })) {
  let said;
  try {
    said = await statusOf(line);
  } catch (error) {
    said = `${error.name}: ${error.message}`;
  }
  console.log(said);
}
