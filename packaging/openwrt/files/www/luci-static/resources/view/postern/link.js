'use strict';
'require view';

/* A link, not a frame: Postern's pages forbid frames, and have a login of their own. */
return view.extend({
	render: function() {
		var port = (location.port && location.port !== '80') ? '' : ':8080';
		return E('p', {}, [
			E('a', { 'class': 'btn cbi-button', 'href': 'http://' + location.hostname + port + '/', 'target': '_blank', 'rel': 'noopener' },
				_('Open Postern'))
		]);
	},
	handleSave: null, handleSaveApply: null, handleReset: null
});
