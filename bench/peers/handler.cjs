module.exports.handler = async (e) => ({ statusCode: 200, body: { echo: e.body, msg: "hello" } });
