// `npm start`: one node in the development profile, on the embedded broker unless the environment says otherwise.
process.env.WEIR_PROFILE ??= 'development';
await import('../gateway/main.ts');
