"use strict";

SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  validatorUrl: null, // it would send the document to swagger.io
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
});
